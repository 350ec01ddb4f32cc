"""How this project's charts look and are written: colours, words, files. Knows nothing of what is drawn."""
