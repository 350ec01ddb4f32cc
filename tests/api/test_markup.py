"""Markdown tables as HTML: nothing is lost, and nothing in a name is markup."""

from html.parser import HTMLParser

from cxrbench.api.markup import to_html
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


def test_a_name_that_reads_like_our_own_tag_underlines_nothing() -> None:
    markdown = f"| {escaped('<u>')} | `</u>` | <u>0.9</u> |\n|---|---|---|\n\n- {remark('<u> is a label')}"
    html = to_html(markdown)
    assert (html.count("<u>"), html.count("</u>"), html.count("&lt;u&gt;")) == (1, 1, 2)
