"""Markdown tables as HTML and LaTeX: nothing is lost, and nothing in a name is markup."""

import re
from html.parser import HTMLParser

from cxrbench.api.markup import latex_text, to_html, to_latex
from cxrbench.leaderboard.render import escaped, remark

TEXT = r"""# Board

> **SYNTHETIC DATA.** drawn

| Encoder | siim:knn | AUROC ↑ |
|---|---|---|
| `a_b` | **0.986** [0.9, 1.0] \* a | 50% |
| `<script>` | <u>0.9</u> ± 0.1 | – |

- a note on \<b> & c_d.
"""


class Cells(HTMLParser):
    """The text of each cell, and the tags that there are."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.cells += [""] if tag in ("td", "th") else []

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_html_has_the_cells_and_no_tag_of_the_text() -> None:
    found = Cells()
    found.feed(to_html(TEXT))
    assert "script" not in found.tags
    assert {"table", "strong", "u", "code", "blockquote"} <= found.tags
    assert [cell.strip() for cell in found.cells[3:8]] == [
        "a_b", "0.986 [0.9, 1.0] * a", "50%", "<script>", "0.9 ± 0.1",
    ]  # fmt: skip


def test_latex_is_a_table_of_plain_text() -> None:
    text = to_latex(TEXT)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [2, 2, 2]
    assert r"\texttt{a\_b} & \textbf{0.986} [0.9, 1.0] $^{*}$ a & 50\% \\" in rows
    assert r"\texttt{\textless{}script\textgreater{}} & \underline{0.9} $\pm$ 0.1 & -- \\" in rows
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", text) == [
        "quote", "quote", "tabular", "tabular", "itemize", "itemize",
    ]  # fmt: skip
    assert text.replace(r"\{", "").replace(r"\}", "").count("{") == text.count("}")
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\textless{}b\textgreater{} \& c\_d." in text


def test_every_character_that_latex_would_read_is_written_out() -> None:
    assert latex_text("\\") == r"\textbackslash{}"
    assert not re.search(r"(?<!\\)[&%#_]", latex_text("100% & #1 a_b ~ ^"))


def test_bars_and_backticks_of_a_name_are_what_they_are_in_latex() -> None:
    """In LaTeX's own fonts a bare bar is a dash, and a backtick a quotation mark."""
    assert r"a\textbar{}b\`{}c" in to_latex("| N | V |\n|---|---|\n| a\\|b\\`c | 1 |\n")


def test_a_name_that_reads_like_our_own_tag_underlines_nothing() -> None:
    markdown = f"| {escaped('<u>')} | `</u>` | <u>0.9</u> |\n|---|---|---|\n\n- {remark('<u> is a label')}"
    html, latex = to_html(markdown), to_latex(markdown)
    assert (html.count("<u>"), html.count("</u>"), html.count("&lt;u&gt;")) == (1, 1, 2)
    assert latex.count("\\underline{") == 1
    assert latex.count("\\textless{}u\\textgreater{}") == 2
