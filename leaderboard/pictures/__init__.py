"""What is on each picture: from boards and saved predictions to plain values. No colour, no pixel, no place.

One module per picture, each with a pure function and the frozen dataclasses that it gives: texts, numbers (NaN where
there is none), tuples. Two renderers draw them: the page's scripts (``page/charts``) and matplotlib (``plots``).
"""
