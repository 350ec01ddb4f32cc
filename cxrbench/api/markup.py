"""Tables that were written as Markdown, as HTML: the same text, nothing left out."""

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

UNDERLINE = ("<u>", "</u>")
"""The only tags that our Markdown has: those of a second place."""


def to_html(markdown: str) -> str:
    """A fragment of HTML. No tag of the text survives but the underline of a second place."""
    parser = MarkdownIt("commonmark").enable("table").disable("html_block")
    parser.add_render_rule("html_inline", _tag)
    return parser.render(markdown)


def _tag(renderer: object, tokens: Sequence[Token], at: int, *_: object) -> str:
    """A tag in HTML: as itself if it is ours, else as text."""
    del renderer
    return tokens[at].content if tokens[at].content in UNDERLINE else escapeHtml(tokens[at].content)
