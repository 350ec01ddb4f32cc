"""Which family an encoder is of: the plugin that its text names."""

import re

from cxrbench.plugins.specs import PYTHON_FILE

OWN = "own code"


def family_of(encoder: str, row: str) -> str:
    """``timm`` of ``timm:resnet50``, ``spcl`` of ``spcl@runs/x``; one name for encoders in a user's own file.

    ``row``: ``protocol`` where the rows are protocols of one encoder: then ``knn`` of ``knn+views2@0.1``.
    """
    if row == "protocol":
        return re.split(r"[+@]", encoder, maxsplit=1)[0]
    return OWN if PYTHON_FILE.fullmatch(encoder) else re.split("[:@]", encoder, maxsplit=1)[0]
