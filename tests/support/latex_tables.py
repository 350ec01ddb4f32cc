"""LaTeX that is strict about what it is given: are braces and environments closed, has every row all of its columns?"""

import re

ESCAPED = re.compile(r"\\[{}&%$#_\\]")


def faults(text: str) -> list[str]:
    """What LaTeX would stumble over; nothing, if it is well formed."""
    text = re.sub(r"(?m)^%.*$", "", text)
    bare = ESCAPED.sub("", text)
    found = [f"{name} is not closed" for name in _open_environments(bare)]
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            break
    found += ["braces are not closed"] if depth else []
    found += [f"{letter} is bare" for letter in "#_~" if letter in bare]
    found += ["% is bare"] if re.search(r"(?<!\\)%", text) else []
    return found + [f"{row!r} has {have} of {want}" for row, have, want in _rows(text) if have != want]


def tabulars(text: str) -> list[tuple[str, list[str]]]:
    """The columns and the rows of each tabular."""
    found = []
    for body in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns, _, rest = body.removeprefix("{").partition("}\n")
        rows = [
            row.strip() for row in re.split(r"\\\\\n", re.sub(r"\\(?:top|mid|bottom)rule", "", rest)) if row.strip()
        ]
        found.append((columns, rows))
    return found


def _rows(text: str) -> list[tuple[str, int, int]]:
    """Each row with the number of its columns and of those it should have."""
    found = []
    for columns, rows in tabulars(text):
        want = len(re.sub(r"\[[^]]*\]|@\{[^}]*\}", "", columns))
        for row in rows:
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
            found.append((row, ESCAPED.sub("", row).count("&") + 1 + spans, want))
    return found


def _open_environments(text: str) -> list[str]:
    stack: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            return [name]
    return stack
