"""What the engine makes of a recipe's numbers: rate, decay, clipping, and words of what may surprise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from cxrbench.encoders.pretraining.engine import pretrain as engine
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, chosen_recipe, notes_on
from cxrbench.encoders.pretraining.engine.pretrain import pretrain
from cxrbench.encoders.pretraining.method import Blueprint
from cxrbench.encoders.pretraining.recipe import Decayed, PretrainingRecipe, cited
from cxrbench.encoders.pretraining.schedule import parameter_groups
from cxrbench.errors import UserError
from support.toy_method import CONFIG, Toy, make_manifest, toy_method

pytestmark = pytest.mark.usefixtures("one_thread")


class Parts(nn.Module):
    """A parameter of each kind that the rules tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 2), nn.LayerNorm(2)
        self.token = nn.Parameter(torch.zeros(1, 1, 2))
        self.scale = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


@pytest.mark.parametrize(
    ("decayed", "names"),
    [
        ("matrices", {"linear.weight"}),
        ("matrices+tokens", {"linear.weight", "token"}),
        ("all", {"linear.weight", "linear.bias", "norm.weight", "norm.bias", "token", "scale"}),
    ],
)
def test_a_step_decays_what_a_hand_built_optimizer_decays(decayed: Decayed, names: set[str]) -> None:
    """Without gradients to speak of, AdamW moves a parameter by its decay alone."""
    torch.manual_seed(0)
    ours, peer = Parts(), Parts()
    for p in ours.parameters():
        nn.init.normal_(p)
    peer.load_state_dict(ours.state_dict())
    trained = {name: p for name, p in peer.named_parameters() if p.requires_grad}
    by_hand = [
        {"params": [p for name, p in trained.items() if name in names], "weight_decay": 0.5},
        {"params": [p for name, p in trained.items() if name not in names], "weight_decay": 0.0},
    ]
    optimizers = (
        torch.optim.AdamW(parameter_groups(ours, 0.5, decayed), lr=0.1),  # type: ignore[arg-type]
        torch.optim.AdamW(by_hand, lr=0.1),
    )
    for model, optimizer in zip((ours, peer), optimizers, strict=True):
        for p in model.parameters():
            p.grad = torch.ones_like(p) if p.requires_grad else None
        optimizer.step()
    before = len(list(ours.parameters()))
    assert sum(len(group["params"]) for group in optimizers[0].param_groups) == before - 1
    for (name, a), (_, b) in zip(ours.named_parameters(), peer.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_matrices_are_the_default_and_what_a_timm_optimizer_decays_has_the_tokens() -> None:
    """timm's rule, which OCL, MAE and I-JEPA use, by timm itself."""
    from timm.optim._param_groups import param_groups_weight_decay

    model = Parts()
    peer = next(group for group in param_groups_weight_decay(model, 0.05) if group["weight_decay"])
    ours = parameter_groups(model, 0.05, "matrices+tokens")[0]
    assert {id(p) for p in ours["params"]} == {id(p) for p in peer["params"]}  # type: ignore[attr-defined]
    assert [id(p) for p in parameter_groups(model, 0.05)[0]["params"]] == [id(model.linear.weight)]  # type: ignore[attr-defined]


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: PretrainingRecipe, **change: Any) -> tuple[Any, Any]:
    """Train the toy method: the log, and the module that was trained."""
    manifest = make_manifest(folder / "data")
    monkeypatch.setattr(engine, "read_method", lambda config: toy_method(recipe))
    trained: list[Any] = []
    train = engine.train

    def caught(module: Any, *more: Any) -> None:
        trained.append(module)
        train(module, *more)

    monkeypatch.setattr(engine, "train", caught)
    config = replace(CONFIG, method="toy", epochs=1, **change)
    pretrain(config, [manifest], folder / "run")
    return pd.read_csv(folder / "run" / "log.csv"), trained[0]


@pytest.mark.parametrize(("clip", "cut"), [(0.0, False), (1e-3, True)])
def test_clip_0_leaves_the_gradient_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float, cut: bool
) -> None:
    norms: list[float] = []
    after = Toy.after_step

    def watched(self: Toy, progress: float) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        after(self, progress)

    monkeypatch.setattr(Toy, "after_step", watched)
    log, _ = run(tmp_path, monkeypatch, PretrainingRecipe(), clip=clip)
    assert (log["gradient_norm"] > 1e-2).all()
    if cut:
        assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2)
    else:
        assert norms == pytest.approx(log["gradient_norm"].tolist(), rel=1e-4)


def test_the_rate_is_scaled_with_the_units_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 2 images, three of them a step: lr · 2 · 3 / 256."""
    recipe = PretrainingRecipe(lr=0.128, lr_rule="per-256", warmup=0.0, betas=(0.5, 0.6), eps=1e-3, clip=0.0)
    _, module = run(tmp_path, monkeypatch, recipe, batch_size=2, accumulate=3)
    optimizer = module.optimizers().optimizer
    assert optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.128 * 6 / 256, rel=1e-12)
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.5, 0.6), 1e-3)
    assert (recipe.peak, replace(recipe, lr_rule="absolute").peak) == (0.128, 0.128)


def test_a_horizon_beyond_the_run_shows_the_beginning_of_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the run's three steps, half of them warm-up: the run ends as it reaches its peak."""
    _, module = run(tmp_path, monkeypatch, PretrainingRecipe(lr=0.3, warmup=0.5, horizon=2.0))
    schedule = module.lr_schedulers()
    rates = [0.3 * schedule.lr_lambdas[0](step) for step in range(6)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[3:] == pytest.approx([0.3, 0.225, 0.075])


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        ({"weight_decay": 0.1}, ["weight decay goes from 0.1 to 0.4, as the recipe's does"]),
        ({"weight_decay": 0.1, "final_weight_decay": 0.1}, []),
        ({"lr": 1e-3}, ["lr 0.001 is taken for 256 units of an optimizer step, as the recipe's is: the peak is 0.002"]),
        ({"lr": 1e-3, "lr_rule": "absolute"}, []),
        ({"lr_rule": "absolute"}, ["lr 0.0005 is the recipe's, of which --lr-rule absolute makes a peak of 0.0005"]),
        ({"epochs": 3, "keep_every": 3}, []),
        ({"epochs": 3, "keep_every": 4}, ["keep_every is 4, and the run has 3 epochs: no checkpoint is kept"]),
    ],
)
def test_what_a_flag_leaves_as_it_was_is_said(change: dict[str, Any], notes: list[str]) -> None:
    method = toy_method(PretrainingRecipe(batch_size=512, lr_rule="per-256", final_weight_decay=0.4))
    config = PretrainConfig(method="toy", **change)
    recipe = chosen_recipe(config, method)
    said = notes_on(config, recipe)
    assert len(said) == len(notes)
    assert all(line.startswith(start) for line, start in zip(said, notes, strict=True))
    assert recipe.final_weight_decay == change.get("final_weight_decay", 0.4)


def test_a_warm_up_of_a_longer_schedule_is_said_in_shares_of_the_run() -> None:
    method = toy_method(PretrainingRecipe(horizon=2.0))
    given, not_given = PretrainConfig(method="toy", warmup=0.1), PretrainConfig(method="toy")
    (line,) = notes_on(given, chosen_recipe(given, method))
    assert line.startswith("warmup 0.1 is a share of the recipe's schedule, which is 2 times as long")
    assert line.endswith("20% of the run")
    assert notes_on(not_given, chosen_recipe(not_given, method)) == []


def test_a_run_says_that_a_process_has_another_share_than_in_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = toy_method(PretrainingRecipe(batch_size=4, processes=2))

    def configure(arch: str, options: Mapping[str, Any]) -> Blueprint:
        return replace(plain.configure(arch, options), within_process="images are compared")

    monkeypatch.setattr(engine, "read_method", lambda config: replace(plain, configure=configure))
    pretrain(
        replace(CONFIG, method="toy", epochs=1, batch_size=None), [make_manifest(tmp_path / "data")], tmp_path / "run"
    )
    said = (
        "images are compared within each process: the source has 2 of 2, this run 1 of 4; to have the source's, pass "
        "--devices 2 or --batch-size 2 --accumulate 2"
    )
    assert said in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "papr"}, "toy has no recipe 'papr': choose one of fixed"),
        ({"clip": -1.0}, "clip is -1: it must be at least 0"),
        ({"final_weight_decay": -1.0}, "final_weight_decay is -1: it must be at least 0"),
        ({"betas": (0.9, 1.0)}, r"betas are \(0.9, 1.0\): give two numbers in \[0, 1\)"),
        ({"lr_rule": "linear"}, "lr_rule is absolute or per-256, not 'linear'"),
        ({"accumulate": 0}, "accumulate is 0"),
    ],
)
def test_numbers_that_cannot_be_are_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        chosen_recipe(PretrainConfig(method="toy", **change), toy_method())
    assert "\n" not in str(caught.value)


def test_a_name_is_cited_once() -> None:
    assert cited({"a": "x y", "b": "z"}) == {"x": "a", "y": "a", "z": "b"}
    with pytest.raises(ValueError, match="cited twice"):
        cited({"a": "x y", "b": "y"})
