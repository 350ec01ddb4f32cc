"""Markdown as LaTeX: nothing is lost, and nothing in a name is a command."""

import re

from cxrbench.leaderboard.latex.markdown import latex_of_markdown, sentences
from cxrbench.leaderboard.latex.text import latex_text
from cxrbench.leaderboard.render import escaped, remark

TEXT = r"""# Board

> **SYNTHETIC DATA.** drawn

| Encoder | siim:knn | AUROC ↑ |
|---|---|---|
| `a_b` | **0.986** [0.9, 1.0] \* a | 50% |
| `<script>` | <u>0.9</u> ± 0.1 | – |

- a note on \<b> & c_d.
"""


def test_latex_is_a_table_of_plain_text() -> None:
    text = latex_of_markdown(TEXT)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [2, 2, 2]
    assert r"\texttt{a\_b} & \textbf{0.986} {[}0.9, 1.0{]} $^{*}$ a & 50\% \\" in rows
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
    assert r"a\textbar{}b\`{}c" in latex_of_markdown("| N | V |\n|---|---|\n| a\\|b\\`c | 1 |\n")


def test_a_name_that_reads_like_our_own_tag_underlines_nothing() -> None:
    markdown = f"| {escaped('<u>')} | `</u>` | <u>0.9</u> |\n|---|---|---|\n\n- {remark('<u> is a label')}"
    latex = latex_of_markdown(markdown)
    assert latex.count("\\underline{") == 1
    assert latex.count("\\textless{}u\\textgreater{}") == 2


def test_a_letter_that_pdflatex_has_not_is_its_number_and_a_direction_is_no_letter() -> None:
    assert latex_text("a胸") == "a{[}U+80F8{]}"
    assert latex_text("é ü") == "é ü"
    assert latex_text("a\u202eb\nc") == r"a\textbackslash{}u202eb\textbackslash{}nc"


def test_a_list_is_one_paragraph() -> None:
    assert sentences("- **A**: one.\n- `b` two.") == r"\textbf{A}: one. \texttt{b} two."
