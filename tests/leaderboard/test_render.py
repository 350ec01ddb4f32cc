"""Names of others in Markdown: a reader sees what was written, in table cells and in notes."""

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from cxrbench.leaderboard.markdown import efficiency_table
from cxrbench.leaderboard.render import escaped, remark

NAMES = [
    "*a*", "**a**", "_a_", "__a__", "a_b_c", "(_a_)", "_", "`a`", "``", "<b>a</b>", "<!--", "[a](b)", "![a](b)",
    "~~a~~", "\\", "\\*a*", "&lt;", "&#42;", "a & b", "5 < 6 > 4", "<script>a</script>", "50%", "$a$", "a|b",
]  # fmt: skip


def seen(markdown: str) -> str:
    """The text that Markdown shows, and, of its tags, code."""
    html = MarkdownIt("commonmark").enable("strikethrough").renderInline(markdown)
    return unescape(re.sub(r"<(?!/?code>)[^>]*>", "", html))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_name_is_markup(name: str) -> None:
    assert seen(escaped(name)) == name
    assert seen(remark(f"fewer than 10 patients with {name}, and {name}.")) == (
        f"fewer than 10 patients with {name}, and {name}"
    )


def test_dollars_are_no_formula_to_github() -> None:
    """Markdown alone has no formulas, so ``seen`` cannot tell."""
    assert escaped("$a$ and $b$") == r"\$a\$ and \$b\$"


def test_a_command_in_a_note_is_code_and_the_rest_is_not() -> None:
    note = "stale: *x* on a_b; renew with `cxrbench run --encoder *x*` and `its` options."
    assert seen(remark(note)) == (
        "stale: *x* on a_b; renew with <code>cxrbench run --encoder *x*</code> and `its` options"
    )


def test_what_encoders_cost_is_in_plain_notation() -> None:
    of = {"pixels": {"images_per_second": 1432.4, "gflops_per_image": 0.00012, "width": 1280, "device": None}}
    assert [cell.strip() for cell in efficiency_table(of).splitlines()[-1].split("|")[1:-1]] == [
        "`pixels`", "1,432", "0.00012", "1,280", "–",
    ]  # fmt: skip
