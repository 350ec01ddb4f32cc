"""What the page of questions keeps of a command's output, and that it has a place for each question."""

import asking

OUTPUT = """# Leaderboard

## Results

### AUROC

| Encoder | nih |
|---------|-----|
| `a`     | 1   |

- Cells: values.
- Letters: ties.

### Notes

- nih: few images.

## Efficiency

| Encoder | GFLOPs |
|---------|--------|
| `a`     | 1      |

## Encoders

- `a`: `all`
"""


def test_tables_stay_under_their_headings_with_what_is_asked_for() -> None:
    table = "**AUROC**\n\n| Encoder | nih |\n|---------|-----|\n| `a`     | 1   |"
    assert asking.trimmed(OUTPUT, "(?!)") == table
    assert asking.trimmed(OUTPUT, "- Cells: ") == f"{table}\n\n- Cells: values."
    assert asking.trimmed(OUTPUT, "- `").endswith("**Encoders**\n\n- `a`: `all`")
    assert asking.trimmed(OUTPUT, "- nih").endswith("**Notes**\n\n- nih: few images.")
    assert asking.trimmed("# Board\n\n- nih: shared.\n", "- nih") == "- nih: shared."


def test_the_page_has_a_place_for_every_question() -> None:
    page = asking.DOCUMENT.read_text()
    for name in ("runs", *asking.QUESTIONS):
        assert page.count(f"<!-- {name} -->") == page.count(f"<!-- /{name} -->") == 1
