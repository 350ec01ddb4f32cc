"""What is kept of measurements of shipped encoders, and the tables made of it."""

from dataclasses import replace

from cxrbench.encoders.backbones.encoder import WEIGHTS
from evidence.beside_untrained import DATASETS, FRACTIONS, ROWS, TABLES, TOP, Beside, Measured, Row, tables
from evidence.embeddings import Directions
from evidence.recipes import SHIPPED

SPCL = next(row for row in ROWS if row.name == "spcl")
MAE = next(row for row in ROWS if row.name == "mae:mean")


def measured(row: Row, seed: int, gain: float) -> Measured:
    tests = {name: {fraction: Beside(0.7 + gain, 0.7, 0.01) for fraction in FRACTIONS} for name in DATASETS}
    return Measured(
        {row.key(seed): tests, TOP: tests},
        {row.key(seed): Directions(3.5, 0.25), row.untrained(seed): Directions(6.0, 0.5)},
        {row.key(seed): SHIPPED[row.method].command(seed)},
    )


def test_what_is_kept_is_read_as_it_was() -> None:
    found = measured(SPCL, 0, 0.1)
    assert Measured.from_json(found.to_json()) == found


def test_the_newer_figure_stands_and_the_others_stay() -> None:
    both = measured(SPCL, 0, 0.1).and_newer(measured(MAE, 0, 0.2)).and_newer(measured(SPCL, 0, 0.3))
    assert both.tests[SPCL.key(0)]["rsna"][0.1].value == 1.0
    assert both.tests[MAE.key(0)]["rsna"][0.1].gain == 0.2 + 0.7 - 0.7


def test_what_another_recipe_made_is_forgotten() -> None:
    found = measured(SPCL, 0, 0.1).and_newer(measured(MAE, 0, 0.2))
    other = replace(found, recipes={**found.recipes, SPCL.key(0): "cxrbench pretrain spcl --epochs 1"})
    assert set(found.of_todays_recipes().tests) == {SPCL.key(0), MAE.key(0), TOP}
    assert set(other.of_todays_recipes().tests) == {MAE.key(0), TOP}


def test_the_spread_between_seeds_needs_two() -> None:
    one = measured(SPCL, 0, 0.1)
    assert tables(one, WEIGHTS)[TABLES[2]] == "Not measured yet."
    two = tables(one.and_newer(measured(SPCL, 1, 0.2)), WEIGHTS)[TABLES[2]]
    assert two.count("+0.100, +0.200: +0.150 ± 0.071 (2 of 2)") == 9  # three data sets, three label fractions
    assert "3.5, 3.5" in two


def test_a_row_stands_beside_its_untrained_backbone() -> None:
    whole = tables(measured(SPCL, 0, 0.1), WEIGHTS)[TABLES[0]].splitlines()
    assert [line.split("|")[1].strip() for line in whole[2:]] == ["`spcl`", "*`random`*", "`imagenet`"]
    assert "2,760 images x 80, 256" in whole[2]
