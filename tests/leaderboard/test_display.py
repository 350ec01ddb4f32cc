"""Short names: as much of a path as tells encoders apart, or the user's own; identity keeps the whole text."""

import pytest

from cxrbench.errors import UserError
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.comparison.compare import compare
from cxrbench.leaderboard.comparison.tables import comparison_to_markdown
from cxrbench.leaderboard.display import read_names, shown_names
from cxrbench.leaderboard.markdown import to_markdown
from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.tables import build

X, Y = "spcl@runs/x/encoder.safetensors", "spcl@runs/y/encoder.safetensors"


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ([X, "random"], ["spcl", "random"]),
        ([X, "spcl"], ["spcl@x", "spcl"]),
        ([X, Y], ["spcl@x", "spcl@y"]),
        ([X, "spcl@runs/x/last.ckpt"], ["spcl@x/encoder.safetensors", "spcl@x/last.ckpt"]),
        (["mae@a/w.pt", "mae@b/w.pt", "mae@b/v.pt"], ["mae@a/w.pt", "mae@b/w.pt", "mae@v.pt"]),
        (["/home/me/mine.py:Mine", "hf:./vit/large", "hf:microsoft/rad-dino"],
         ["mine.py:Mine", "hf:large", "hf:microsoft/rad-dino"]),
        (["./a/mine.py:Mine", "./b/mine.py:Mine"], ["a/mine.py:Mine", "b/mine.py:Mine"]),
        (["random:base@7", "random:base@8", "timm:vit"], ["random:base@7", "random:base@8", "timm:vit"]),
        (["/m.py:M@a/w.pt", "/m.py:M@w.pt"], ["m.py:M", "m.py:M@w.pt"]),
    ],
)  # fmt: skip
def test_no_more_of_a_path_than_tells_encoders_apart(encoders: list[str], expected: list[str]) -> None:
    shown = shown_names(encoders, {})
    assert [shown[encoder] for encoder in encoders] == expected


def test_names_are_given_for_the_whole_text_or_the_short_one() -> None:
    assert shown_names([X, "random"], read_names([f"{X}=S-PCL"])) == {X: "S-PCL", "random": "random"}
    assert shown_names([X, "random"], {"spcl": "S-PCL"})[X] == "S-PCL"
    with pytest.raises(UserError, match="would both be called 'random'"):
        shown_names([X, "random"], {X: "random"})
    with pytest.raises(UserError, match="the results have random"):
        shown_names(["random"], {"spcl": "S-PCL"})
    with pytest.raises(UserError, match="give ENCODER=NAME"):
        read_names(["spcl"])


def test_tables_have_the_short_names_and_a_key_and_data_the_whole_text(made_up) -> None:
    cells = [made_up(X, strength=2.0), made_up(Y), made_up("random")]
    board = build(cells, replicates=100, metrics=("auroc",))
    text = to_markdown(board, Look({X: "S-PCL"}))
    tables = text.split("### Notes")[0]
    assert all(f"| `{name}`" in tables for name in ("S-PCL", "spcl@y", "random"))
    assert "runs/" not in tables
    assert f"- `S-PCL`: `{X}`\n- `spcl@y`: `{Y}`\n" in text
    assert all(X in data and "S-PCL" not in data for data in (to_csv(board), to_json(board)))
    compared = comparison_to_markdown(compare(cells, X, Y, replicates=100))
    assert compared.startswith("# Is `spcl@x` better than `spcl@y`?")
    assert f"- `spcl@x`: `{X}`" in compared
