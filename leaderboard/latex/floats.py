"""A floating table in LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

RULE = "\\midrule"
"""In the place of a row: a line across."""


@dataclass(frozen=True)
class Float:
    """A table with its caption. ``columns``: of the tabular; ``head``, ``rows``: cells that are LaTeX already, joined
    with & where they are lists; ``note``: what stands below.
    """

    caption: str
    columns: str
    head: str
    rows: Sequence[str] = field(default_factory=tuple)
    note: str = ""

    def written(self, label: str) -> str:
        """The environment ``table``; one that is wider than the line is made smaller, its note is not."""
        body = "\n".join(row if row == RULE else f"{row} \\\\" for row in self.rows)
        note = f"\n\\par\\smallskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{self.note}\n\\end{{minipage}}"
        return (
            f"\\begin{{table}}[htbp]\n\\centering\n\\caption{{{self.caption}}}\n\\label{{{label}}}\n"
            f"\\begin{{adjustbox}}{{max width=\\linewidth}}\n\\begin{{tabular}}{{{self.columns}}}\n\\toprule\n"
            f"{self.head} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{adjustbox}}"
            f"{note if self.note else ''}\n\\end{{table}}"
        )

    def stamped(self, text: str) -> "Float":
        """The same with what must be known before its numbers are read."""
        return replace(self, caption=f"{self.caption}. \\textbf{{{text}}}")


def row(*cells: str) -> str:
    """Cells side by side."""
    return " & ".join(cells)


def over_two(text: str) -> str:
    """A heading over a value and what stands beside it."""
    return f"\\multicolumn{{2}}{{c}}{{{text}}}"
