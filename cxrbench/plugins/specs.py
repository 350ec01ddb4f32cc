"""Encoder specs as text: the grammar."""

import re
from pathlib import Path

from cxrbench.encoder import EncoderRequest
from cxrbench.errors import UserError

PYTHON_FILE = re.compile(r"(?P<file>.+?\.py):(?P<object>[A-Za-z_]\w*)(?:@(?P<weights>.*))?", re.DOTALL)


def parse_encoder(text: str) -> EncoderRequest:
    """Parse ``NAME[:VARIANT][@WEIGHTS]`` or ``FILE.py:CLASS[@WEIGHTS]``.

    The first ``:`` ends the name and the first ``@`` begins the weights, so variants may hold ``:`` and ``/``
    (``open_clip:hf-hub:microsoft/...``) and paths of weights anything. A variant that is an existing path is taken
    whole, ``@`` included (``hf:./my@folder``). Raises UserError if a part is empty.
    """
    text = text.strip()
    if match := PYTHON_FILE.fullmatch(text):
        request = EncoderRequest(match["file"], match["object"], match["weights"])
    elif text.endswith(".py"):
        raise UserError(f"{text!r} names a file but no class in it: write {text}:CLASS")
    else:
        head, at, tail = text.partition("@")
        name, colon, variant = head.partition(":")
        if colon and at and Path(f"{variant}@{tail}").exists():
            variant, at, tail = f"{variant}@{tail}", "", ""
        request = EncoderRequest(name, variant if colon else None, tail if at else None)
    if not request.name or request.variant == "" or request.weights == "":
        raise UserError(f"encoder {text!r} has an empty part: the grammar is NAME[:VARIANT][@WEIGHTS]")
    return request
