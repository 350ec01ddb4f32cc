"""Text and tables that were written as Markdown, as LaTeX: nothing is left out."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from cxrbench.leaderboard.latex.text import latex_code, latex_text

OPENED = {
    "heading_open": "\\paragraph*{", "paragraph_open": "", "bullet_list_open": "\\begin{itemize}\n",
    "list_item_open": "\\item ", "blockquote_open": "\\begin{quote}\n", "strong_open": "\\textbf{",
    "em_open": "\\emph{", "tbody_open": "\\midrule\n",
}  # fmt: skip
CLOSED = {
    "heading_close": "}\n\n", "paragraph_close": "\n\n", "bullet_list_close": "\\end{itemize}\n\n",
    "list_item_close": "", "blockquote_close": "\\end{quote}\n\n", "strong_close": "}", "em_close": "}",
    "table_close": "\\bottomrule\n\\end{tabular}\n\n", "tr_close": " \\\\\n", "softbreak": "\n", "hardbreak": "\n",
}  # fmt: skip
UNDERLINE = {"<u>": "\\underline{", "</u>": "}"}
"""The only tags that our Markdown has: those of a second place."""


def latex_of_markdown(markdown: str) -> str:
    """A fragment of LaTeX: a ``tabular`` per table, with the rules of the package booktabs."""
    tokens = MarkdownIt("commonmark").enable("table").disable("html_block").parse(markdown)
    text = "".join(_blocks(tokens))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def sentences(markdown: str) -> str:
    """A list of Markdown as one paragraph."""
    items = [line.removeprefix("- ") for line in markdown.splitlines()]
    return " ".join(latex_of_markdown(item).strip() for item in items)


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    column = 0
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            end = next(i for i, later in enumerate(tokens[at:], at) if later.type == "tr_close")
            columns = sum(one.type == "th_open" for one in tokens[at:end])
            yield f"\\begin{{tabular}}{{{'l' * columns}}}\n\\toprule\n"
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            yield " & " if column else ""
            column += 1
        elif token.type == "inline":
            yield from _inline(token.children or ())
        else:
            yield OPENED.get(token.type) or CLOSED.get(token.type, "")


def _inline(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "code_inline":
            yield latex_code(token.content)
        elif token.type == "html_inline":
            yield UNDERLINE.get(token.content) or latex_text(token.content)
        elif token.type == "text":
            yield latex_text(token.content)
        else:
            yield OPENED.get(token.type) or CLOSED.get(token.type, "")
