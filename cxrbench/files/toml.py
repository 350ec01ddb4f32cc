"""Values as TOML has them, in the files that are written to be read, corrected and published."""

import json
from collections.abc import Mapping
from typing import Any


def toml_value(value: Any) -> str:
    """A text, a number, True, False, or a list or tuple of such: written as JSON writes it, but for DEL.

    A mapping is an inline table.
    """
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(str(name))} = {toml_value(one)}' for name, one in value.items())}}}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
