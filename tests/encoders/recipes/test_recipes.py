"""Recipes of all methods: every number of each has a source, and the sources' arithmetic is what is trained."""

from dataclasses import fields, replace

import pytest
import torch

from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, chosen_recipe
from cxrbench.encoders.pretraining.engine.recipe_lines import FOLLOWS, UNCITED, UNREAD, recipe_lines
from cxrbench.encoders.pretraining.method import Method
from cxrbench.encoders.pretraining.recipe import WORDS, PretrainingRecipe
from cxrbench.encoders.pretraining.schedule import learning_rate_factor
from cxrbench.encoders.recipes import spcl
from cxrbench.plugins.entry_points import METHODS, loadable
from support.option_tables import SETS

ALL = {name: method for name, method in loadable(METHODS, "method").items() if name in SETS}
EACH = [(name, recipe) for name, method in ALL.items() for recipe in method.recipes]
NUMBERS = [f.name for f in fields(PretrainingRecipe) if f.name not in WORDS]
REPOSITORIES = ("OCL:", "PACX-MAE:", "MVMAE:", "ijepa:", "FaNe:")
PAPERS = ("S-PCL", "PaCX-MAE", "MVMAE", "RadJEPA", "FaNe", "SigLIP", "Assran et al. 2023", "Robinson et al. 2021")


@pytest.mark.parametrize(("name", "recipe"), EACH)
def test_every_number_of_every_recipe_has_a_source(name: str, recipe: str) -> None:
    lines, _ = recipe_lines(PretrainConfig(method=name, recipe=recipe))
    options = set(SETS[name].declared)
    told = {line.name for line in lines}
    assert len(told) == len(lines), "two numbers of one name"
    assert told >= {*NUMBERS, *options}
    lacking = [line.name for line in lines if line.source == UNCITED]
    assert not lacking, f"cite {lacking} in encoders/recipes/, under {recipe}"
    for line in lines:
        known = ("ours: ", "not stated; ", "torch.optim", FOLLOWS, UNREAD, *REPOSITORIES, *PAPERS)
        assert line.source.startswith(known), line
        assert not (recipe == "official" and line.source.startswith("not stated; "))


@pytest.mark.parametrize(("name", "recipe"), EACH)
def test_a_recipe_cites_its_own_numbers_and_nothing_else(name: str, recipe: str) -> None:
    """A variant's own values are cited by that variant, not by the default's; names that mean nothing by none."""
    sources, options = ALL[name].recipes[recipe].sources, SETS[name]
    assert set(sources) <= {*NUMBERS, *options.declared}
    assert set(options.variants[recipe]) <= set(sources)
    assert set(options.variants) == set(ALL[name].recipes)


def test_a_number_without_a_source_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: text for name, text in spcl.PAPER.sources.items() if name not in ("clip", "ratio")}
    monkeypatch.setitem(spcl.RECIPES, "paper", replace(spcl.PAPER, sources=without))
    lines, _ = recipe_lines(PretrainConfig(method="spcl", recipe="paper"))
    assert [line.name for line in lines if line.source == UNCITED] == ["clip"]
    with pytest.raises(AssertionError):  # fixed cites another ratio
        test_a_recipe_cites_its_own_numbers_and_nothing_else("spcl", "paper")


def test_rates_are_those_of_the_public_codes() -> None:
    """Peak learning rate and batch as each repository computes them from its defaults, written out."""
    expected = {
        ("spcl", "official"): (5e-5 * 1800 / 256, 1800, 1),
        ("spcl", "paper"): (5e-5 * 600 * 2 / 256, 600, 2),
        ("mae", "official"): (1.5e-4, 2 * 256, 1),
        ("mvmae", "official"): (1.2e-4 * 64 / 256, 64, 1),
        ("mvmae-v2t", "official"): (1.2e-4 * 64 / 256, 64, 1),
        ("pacx", "official"): (1e-4, 128, 1),
        ("radjepa", "official"): (1e-3, 16 * 128, 1),
        ("fane", "official"): (4e-4, 2 * 98, 1),
    }
    for (name, recipe), (rate, batch, accumulate) in expected.items():
        found = ALL[name].recipes[recipe]
        assert found.peak == pytest.approx(rate, rel=1e-12), name
        assert (found.batch_size, found.accumulate) == (batch, accumulate), name


def test_schedules_are_those_of_the_public_codes() -> None:
    """Rates at ends of epochs, by torch's own schedulers or the codes' formulas, for 10 steps an epoch."""
    for name, warmup, epochs in (("spcl", 10, 200), ("mae", 10, 400), ("pacx", 5, 50), ("radjepa", 40, 300)):
        recipe = ALL[name].recipes["official"]
        assert recipe.epochs == epochs
        assert recipe.warmup * recipe.horizon * recipe.epochs == pytest.approx(warmup), name
    mvmae = ALL["mvmae"].recipes["official"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=mvmae.peak)
    schedulers = torch.optim.lr_scheduler
    peer = schedulers.SequentialLR(
        optimizer,
        [
            schedulers.LinearLR(optimizer, start_factor=0.5, total_iters=500),
            schedulers.CosineAnnealingLR(optimizer, T_max=4500),
        ],
        milestones=[500],
    )
    for step in range(1, 4999):  # stepped before, here after: ours is a step ahead in warm-up
        optimizer.step()
        peer.step()
        ours = mvmae.peak * learning_rate_factor(step, 5000, round(mvmae.warmup * 5000), mvmae.start_lr, mvmae.final_lr)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=mvmae.peak * 0.0011), step


def test_numbers_of_fixed_stay() -> None:
    """What the shipped checkpoints and the documents were made with."""
    expected = {
        "spcl": (256, 200, 5e-4), "mae": (256, 400, 1.5e-4), "supervised": (256, 100, 1e-4), "mvmae": (64, 500, 3e-5),
        "mvmae-v2t": (64, 500, 3e-5), "pacx": (128, 50, 1e-4), "radjepa": (2048, 300, 1e-3), "fane": (196, 50, 4e-4),
    }  # fmt: skip
    for name, numbers in expected.items():
        recipe = ALL[name].recipes["fixed"]
        assert (recipe.batch_size, recipe.epochs, pytest.approx(recipe.peak)) == numbers
        assert (recipe.arch, recipe.clip, recipe.decayed, recipe.horizon) == ("small", 1.0, "matrices", 1.0)


def test_what_is_given_stands_above_the_recipe_and_is_marked() -> None:
    config = PretrainConfig(
        method="spcl", recipe="paper", arch="nano", batch_size=64, clip=2.0, betas=(0.8, 0.9), options={"ratio": "0.5"}
    )
    recipe = chosen_recipe(config, ALL["spcl"])
    assert (recipe.arch, recipe.batch_size, recipe.clip, recipe.betas) == ("nano", 64, 2.0, (0.8, 0.9))
    assert (recipe.accumulate, recipe.lr_rule, recipe.peak) == (2, "per-256", pytest.approx(5e-5 * 128 / 256))
    lines, _ = recipe_lines(config)
    given = {line.name: (line.value, line.source) for line in lines if line.source.startswith("given")}
    assert given == {
        "arch": ("nano", "given; the recipe has base-512"),
        "batch_size": ("64", "given; the recipe has 600"),
        "betas": ("0.8,0.9", "given; the recipe has 0.9,0.95"),
        "clip": ("2", "given; the recipe has 0"),
        "ratio": ("0.5", "given; the recipe has 0.6"),
    }


def test_an_option_that_nothing_reads_has_no_value() -> None:
    def told(**config: object) -> dict[str, tuple[str, str]]:
        lines, _ = recipe_lines(PretrainConfig("pacx", **config))  # type: ignore[arg-type]
        return {line.name: (line.value, line.source) for line in lines}

    assert told()["head_dropout"] == ("0.2", "PACX-MAE:Modules/pacx_lit.py")
    assert told(recipe="paper")["head_dropout"] == ("-", "not read: only where heads is normed")
    assert told(options={"contrastive": 0})["smoothing"] == ("-", "not read: only where contrastive is more than 0")


def test_what_a_code_does_otherwise_is_not_cited_as_its() -> None:
    for recipe in ("fixed", "paper"):  # its code pools 128 channels
        lines, _ = recipe_lines(PretrainConfig("fane", recipe=recipe))
        width = {line.name: line for line in lines}["pool_width"]
        assert width.value == "0"
        assert width.source.startswith("ours: the BERT's")


def test_a_method_of_others_needs_no_recipe() -> None:
    method = Method("theirs", lambda arch, options: None, {}, lambda arch, seed: None)  # type: ignore[arg-type, return-value]
    assert chosen_recipe(PretrainConfig(method="theirs", epochs=3), method) == PretrainingRecipe(epochs=3)
