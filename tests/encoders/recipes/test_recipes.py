"""Recipes of all methods: every number of each has a source, and the sources' arithmetic is what is trained."""

import inspect
import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from cxrbench.cli.pretrain import pretrain
from cxrbench.encoders.backbones.vit import parse_arch
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, chosen_recipe
from cxrbench.encoders.pretraining.engine.recipe_lines import FOLLOWS, SILENT, UNCITED, UNREAD, recipe_lines
from cxrbench.encoders.pretraining.method import Draw, Method
from cxrbench.encoders.pretraining.recipe import WORDS, PretrainingRecipe
from cxrbench.encoders.pretraining.schedule import learning_rate_factor
from cxrbench.encoders.radjepa.objective import RadJEPA
from cxrbench.encoders.radjepa.options import OPTIONS
from cxrbench.encoders.recipes import spcl
from cxrbench.errors import UserError
from cxrbench.plugins.entry_points import METHODS, loadable
from support.option_tables import SETS

ALL = {name: method for name, method in loadable(METHODS, "method").items() if name in SETS}
EACH = [(name, recipe) for name, method in ALL.items() for recipe in method.recipes]
NUMBERS = [f.name for f in fields(PretrainingRecipe) if f.name not in WORDS]
CONSTANTS = {
    name: {
        one
        for recipe in method.recipes
        for blueprint in [method.configure(method.recipes[recipe].arch, {"variant": recipe})]
        for one in method.constants(blueprint.backbone, blueprint.options)
    }
    for name, method in ALL.items()
}
REPOSITORIES = ("OCL:", "PACX-MAE:", "MVMAE:", "ijepa:", "FaNe:")
PAPERS = (
    "S-PCL",
    "PaCX-MAE",
    "MVMAE",
    "RadJEPA",
    "FaNe",
    "SigLIP",
    "Assran et al. 2023",
    "Robinson et al. 2021",
    "Bardes et al. 2022",
)


@pytest.mark.parametrize(("name", "recipe"), EACH)
def test_every_number_of_every_recipe_has_a_source(name: str, recipe: str) -> None:
    lines, _ = recipe_lines(PretrainConfig(method=name, recipe=recipe))
    options = set(SETS[name].declared)
    told = {line.name for line in lines}
    assert {line.name for line in lines if line.constant} <= CONSTANTS[name]
    assert len([line for line in lines if line.constant]) >= 3
    assert len(told) == len(lines), "two numbers of one name"
    assert told >= {*NUMBERS, *options}
    lacking = [line.name for line in lines if line.source == UNCITED]
    assert not lacking, f"cite {lacking} in encoders/recipes/, under {recipe}"
    for line in lines:
        known = ("ours: ", "not stated; ", SILENT, "torch.optim", FOLLOWS, UNREAD, *REPOSITORIES, *PAPERS)
        assert line.source.startswith(known), line
        assert not (recipe == "official" and line.source.startswith("not stated; "))


@pytest.mark.parametrize(("name", "recipe"), EACH)
def test_a_recipe_cites_its_own_numbers_and_nothing_else(name: str, recipe: str) -> None:
    """A variant's own values are cited by that variant, not by the default's; names that mean nothing by none."""
    sources, options = ALL[name].recipes[recipe].sources, SETS[name]
    assert set(sources) <= {*NUMBERS, *options.declared, *CONSTANTS[name]}
    assert not CONSTANTS[name] & {*NUMBERS, *options.declared}
    assert set(options.variants[recipe]) <= set(sources)
    assert set(options.variants) == set(ALL[name].recipes)


def test_a_number_without_a_source_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: text for name, text in spcl.PAPER.sources.items() if name not in ("clip", "ratio")}
    monkeypatch.setitem(spcl.RECIPES, "paper", replace(spcl.PAPER, sources=without))
    fixed = {name: text for name, text in spcl.FIXED.sources.items() if name != "token_std"}
    monkeypatch.setitem(spcl.RECIPES, "fixed", replace(spcl.FIXED, sources=fixed))
    lines, _ = recipe_lines(PretrainConfig(method="spcl", recipe="paper"))
    assert [line.name for line in lines if line.source == UNCITED] == ["clip", "token_std"]
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


@pytest.mark.parametrize("name", ALL)
def test_every_number_in_which_recipes_differ_can_be_given(name: str) -> None:
    """So that one of them with one number changed back is an ablation; on the command line, too."""
    recipes = ALL[name].recipes.values()
    differ = {number for number in NUMBERS if len({getattr(recipe, number) for recipe in recipes}) > 1}
    flags = set(inspect.signature(pretrain).parameters)
    assert differ <= {f.name for f in fields(PretrainConfig)} & flags
    for number in differ:
        for recipe in recipes:
            config = PretrainConfig(name, **{number: getattr(recipe, number)})
            assert getattr(chosen_recipe(config, ALL[name]), number) == getattr(recipe, number)


def test_numbers_of_the_schedule_are_refused_where_they_mean_nothing() -> None:
    for name, value, bounds in (
        ("start_lr", 1.5, "in [0, 1]"),
        ("final_lr", -0.1, "in [0, 1]"),
        ("horizon", 0.5, "in [1, 1e+09]"),
    ):
        with pytest.raises(UserError, match=re.escape(f"{name} is {value}: it must be {bounds}")):
            chosen_recipe(PretrainConfig("spcl", **{name: value}), ALL["spcl"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="decayed is matrices"):
        chosen_recipe(PretrainConfig("spcl", decayed="none"), ALL["spcl"])  # type: ignore[arg-type]


def test_an_option_that_nothing_reads_has_no_value() -> None:
    def told(**config: object) -> dict[str, tuple[str, str]]:
        lines, _ = recipe_lines(PretrainConfig("pacx", **config))  # type: ignore[arg-type]
        return {line.name: (line.value, line.source) for line in lines}

    assert told()["head_dropout"] == ("0.2", "PACX-MAE:Modules/pacx_lit.py")
    assert told(recipe="paper")["head_dropout"] == ("-", "not read: only where heads is normed")
    assert told(options={"contrastive": 0})["smoothing"] == ("-", "not read: only where contrastive is more than 0")


@pytest.mark.parametrize("name", [name for name in ALL if "paper" in ALL[name].recipes])
def test_what_paper_takes_over_is_said_to_be_as_in_fixed_unless_the_paper_says_it(name: str) -> None:
    lines, _ = recipe_lines(PretrainConfig(method=name, recipe="paper"))
    inherited = {*SETS[name].declared, *CONSTANTS[name]} - set(ALL[name].recipes["paper"].sources)
    said = {line.name: line.source for line in lines if line.name in inherited and not line.source.startswith(UNREAD)}
    assert said
    assert not [one for one, source in said.items() if source.startswith(("ours", *REPOSITORIES, "torch"))]


def test_what_is_taken_over_by_name() -> None:
    def told(method: str, recipe: str) -> dict[str, str]:
        return {line.name: line.source for line in recipe_lines(PretrainConfig(method, recipe=recipe))[0]}

    radjepa, official, fane = told("radjepa", "paper"), told("radjepa", "official"), told("fane", "paper")
    assert radjepa["momentum"] == f"{SILENT}{official['momentum']}"
    assert official["momentum"] == "ijepa:configs/in1k_vith14_ep300.yaml"
    assert radjepa["masks"] == "not stated: as in fixed; ours: blocks reach every patch"
    assert official["keep"].startswith("not stated: as in fixed; Assran et al. 2023")
    assert fane["gather"].startswith("not stated: as in fixed; ours: ")
    assert (fane["kappa"], fane["tau2"]) == ("FaNe §3.1", "FaNe §4.1: τ₁, τ₂, τ₃")
    assert not [source for source in told("mae", "fixed").values() if source.startswith("not stated")]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (("fane", "official", {}), ("2 of 98, this run 1 of 196", "--devices 2 or --batch-size 98 --accumulate 2, by")),
        (("radjepa", "paper", {}), ("16 of 128, this run 1 of 2048", "or --batch-size 128 --accumulate 16, by")),
        (("radjepa", "official", {"devices": 4}), ("16 of 128, this run 4 of 512", "--batch-size 512 --accumulate 4")),
        (("spcl", "official", {"devices": 2}), ("1 of 1800, this run 2 of 900", "--devices 1 or --batch-size 3600")),
        (("spcl", "official", {}), ()),
        (("fane", "official", {"devices": 2}), ()),
        (("fane", "official", {"batch_size": 98, "accumulate": 2}), ()),
        (("fane", "paper", {}), ()),
        (("radjepa", "fixed", {}), ()),
    ],
)  # fmt: skip
def test_a_share_that_is_not_the_sources_is_said(
    config: tuple[str, str, dict[str, Any]], said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    name, recipe, more = config
    _, notes = recipe_lines(PretrainConfig(name, recipe=recipe, **more))
    shares = [note for note in notes if "within each process" in note]
    assert len(shares) == bool(said)
    assert all(part in shares[0] for part in said)


def test_batches_that_are_accumulated_have_the_contexts_of_the_sources_processes() -> None:
    """Two batches of 3 images, as two processes of one batch of 6: each is cut to its own shortest context."""
    options = OPTIONS.read({"variant": "official"})
    objective = RadJEPA(parse_arch("192x4p14s112", channels=3, class_token=False), options)
    for seed in range(8):
        drawn = [torch.Generator().manual_seed(seed) for _ in range(3)]
        shares = [
            objective.masks(3, Draw(one, rank, 2), torch.device("cpu")).context for rank, one in enumerate(drawn[:2])
        ]
        whole = objective.masks(6, Draw(drawn[2]), torch.device("cpu")).context
        assert min(len(share[0]) for share in shares) == len(whole[0])
        if len(shares[0][0]) != len(shares[1][0]):
            break
    else:
        raise AssertionError("shares are all of one length: the test shows nothing")


def test_what_a_code_does_otherwise_is_not_cited_as_its() -> None:
    for recipe in ("fixed", "paper"):  # its code pools 128 channels
        lines, _ = recipe_lines(PretrainConfig("fane", recipe=recipe))
        width = {line.name: line for line in lines}["pool_width"]
        assert width.value == "the BERT's (0)"
        assert width.source.removeprefix(SILENT).startswith("ours: the BERT's")


def test_a_method_of_others_needs_no_recipe() -> None:
    method = Method("theirs", lambda arch, options: None, {}, lambda arch, seed: None)  # type: ignore[arg-type, return-value]
    assert chosen_recipe(PretrainConfig(method="theirs", epochs=3), method) == PretrainingRecipe(epochs=3)
