"""A method's options: one declaration makes help, bounds, reading, and the refusal of what nothing reads."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from cxrbench.encoders.pretraining.options import Declared, OptionSet, Variant, option
from cxrbench.errors import UserError


@dataclass(frozen=True)
class Knobs:
    variant: Variant = "fixed"
    ratio: float = option(0.25, "a share", least=0, below=1)
    blocks: int = option(4, "a number", least=1)
    kind: Literal["a", "b"] = option("a", "a choice")
    flip: bool = option(False, "a switch")
    lost: float = option(1.0, "read by b alone", above=0, when=("kind is b", lambda knobs: knobs.kind == "b"))
    path: str = option("", "a file")
    deep: int = option(1, "of deep ones", of=("arch is deep", lambda arch: arch != "flat"))


KNOBS = OptionSet("Toy", Knobs, {"fixed": {}, "paper": {"kind": "b", "ratio": 0.5}})


def test_what_is_given_stands_above_the_variant_and_that_above_the_class() -> None:
    assert KNOBS.read({}) == Knobs()
    assert KNOBS.read({"variant": "paper", "ratio": "0.75"}) == Knobs("paper", ratio=0.75, kind="b")
    assert KNOBS.read({"flip": "yes", "blocks": 2, "path": "x"}) == Knobs(flip=True, blocks=2, path="x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"knob": 1}, "Toy has no option knob: choose from ratio, blocks, kind, flip, lost, path, deep"),
        ({"variant": "official"}, "Toy has no variant 'official': choose one of fixed, paper"),
        ({"ratio": 1}, r"Toy: ratio is 1: it must be in \[0, 1\)"),
        ({"ratio": -0.1}, r"it must be in \[0, 1\)"),
        ({"ratio": "inf"}, "ratio is a number, not 'inf'"),
        ({"blocks": "2.5"}, "blocks is a whole number, not '2.5'"),
        ({"blocks": 0}, "blocks is 0: it must be at least 1"),
        ({"kind": "c"}, "kind is a or b, not 'c'"),
        ({"flip": "maybe"}, "flip is true or false, not 'maybe'"),
        ({"lost": 2}, "Toy reads lost only where kind is b: leave it out"),
        ({"lost": 0, "kind": "b"}, "lost is 0: it must be more than 0"),
    ],
)
def test_what_cannot_be_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        KNOBS.read(given)
    assert "\n" not in str(caught.value)


def test_an_option_is_read_where_its_condition_holds() -> None:
    assert KNOBS.read({"lost": 2, "kind": "b"}).lost == KNOBS.read({"lost": 2, "variant": "paper"}).lost == 2


def test_an_option_is_read_where_the_architecture_has_what_it_is_of() -> None:
    assert KNOBS.read({"deep": 2}, "steep").deep == 2
    assert KNOBS.read({}, "flat").deep == 1
    with pytest.raises(UserError, match="Toy reads deep only where arch is deep: leave it out"):
        KNOBS.read({"deep": 1}, "flat")


def test_help_says_what_an_option_may_be_when_it_is_read_and_its_default() -> None:
    assert KNOBS.lines() == {
        "ratio": "a share; in [0, 1) [default: 0.25]",
        "blocks": "a number; at least 1 [default: 4]",
        "kind": "a choice; a or b [default: a]",
        "flip": "a switch [default: false]",
        "lost": "read by b alone; more than 0; read where kind is b [default: 1]",
        "path": "a file",
        "deep": "of deep ones; read where arch is deep [default: 1]",
    }


def test_bounds_in_words_and_in_numbers() -> None:
    both, above, free = Declared("", above=0, most=1), Declared("", above=0), Declared("")
    assert [d.bounds for d in (both, above, free)] == ["in (0, 1]", "more than 0", ""]
    assert [[d.allows(x) for x in (-1, 0, 1, 2)] for d in (both, above, free)] == [
        [False, False, True, False], [False, False, True, True], [True] * 4,
    ]  # fmt: skip


def test_the_variant_is_no_option_though_it_is_read() -> None:
    assert "variant" not in KNOBS.lines()
    alone = OptionSet("Toy", Knobs, {"fixed": {}})
    assert alone.read({"variant": "fixed"}) == Knobs()
    with pytest.raises(UserError, match="no variant 'paper': choose one of fixed"):
        alone.read({"variant": "paper"})
