"""The two ways of collapsing are told apart, and what is no collapse is none."""

import pytest
import torch
from torch import Tensor

from cxrbench.encoders.mae import MAE
from cxrbench.encoders.mvmae.objective import MVMAE
from cxrbench.encoders.pretraining.engine.watching.collapse import collapses
from cxrbench.encoders.pretraining.engine.watching.monitors import Monitors, monitors
from cxrbench.encoders.radjepa.objective import RadJEPA
from cxrbench.encoders.spcl import SPCL
from cxrbench.encoders.supervised import Supervised

OBJECTIVES = {"mae": MAE, "mvmae": MVMAE, "supervised": Supervised, "spcl": SPCL, "radjepa": RadJEPA}
START = torch.randn(100, 32, generator=torch.Generator().manual_seed(0)) + 3


def figures(embeddings: Tensor) -> Monitors:
    return monitors(embeddings, embeddings[:20])


def modes(now: Tensor, start: Tensor = START, spread_left: float = 1 / 3) -> list[str]:
    return [mode for mode, why in collapses(figures(start), figures(now), spread_left)]


def along(share: float, rest: Tensor = START) -> Tensor:
    """Embeddings whose first component has this share of the variance, with the mean spread of ``rest``."""
    centred = rest - rest.mean(dim=0)
    axis = torch.ones(rest.shape[1]) / rest.shape[1] ** 0.5
    ordinates = torch.randn(len(rest), generator=torch.Generator().manual_seed(1))
    line = (ordinates - ordinates.mean())[:, None] * axis
    across = centred - (centred @ axis)[:, None] * axis
    line = line * (share / (1 - share)) ** 0.5 * across.norm() / line.norm()
    both = line + across
    return both * figures(rest).spread / figures(both).spread


def test_one_point_keeps_its_rank_and_few_dimensions_their_spread() -> None:
    point, flat = 3 + (START - 3) / 10, along(0.98)
    assert figures(point).effective_rank == pytest.approx(figures(START).effective_rank, rel=1e-3)
    assert figures(flat).spread == pytest.approx(figures(START).spread, rel=1e-3)
    assert (modes(point), modes(flat)) == (["one point"], ["few dimensions"])
    assert modes(3 + along(0.98) / 10) == ["one point", "few dimensions"]
    assert modes(torch.ones(100, 32)) == ["one point"]  # the rank of a point is undefined


def test_what_is_no_collapse() -> None:
    assert modes(START) == []
    assert modes(START * 0.4 + 2) == []
    assert modes(START * torch.linspace(0.1, 1.9, 32)) == []


def test_a_direction_that_grows_takes_nothing_from_the_others() -> None:
    """As where a label is learnt: rank and shares fall, and every other component has the variance that it had."""
    centred = START - START.mean(dim=0)
    axis = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    stretched = START + 9 * (centred @ axis)[:, None] * axis
    assert figures(stretched).first_component > 0.8
    assert figures(stretched).effective_rank < 0.5 * figures(START).effective_rank
    assert modes(stretched) == []
    shrunk = START.mean(dim=0) + (stretched - START.mean(dim=0)) * figures(START).spread / figures(stretched).spread
    assert modes(shrunk) == ["few dimensions"]


def test_what_no_loss_compares_may_come_closer() -> None:
    point = 3 + (START - 3) / 5
    assert (modes(point), modes(point, spread_left=0.1)) == (["one point"], [])
    assert {name: objective.spread_left for name, objective in OBJECTIVES.items()} == {
        "mae": 0.1, "mvmae": 0.1, "supervised": 0.1, "spcl": 1 / 3, "radjepa": 1 / 3,
    }  # fmt: skip


def test_brightness_in_the_first_component_of_an_untrained_encoder_is_none() -> None:
    """Above 80% from the start: no sign by itself; it is one where the rest has lost half of its share."""
    bright = along(0.85)
    assert figures(bright).first_component > 0.8
    assert modes(bright, start=bright) == []
    assert modes(along(0.89), start=bright) == []
    fuller = along(0.95)
    assert figures(fuller).effective_rank > 0.5 * figures(bright).effective_rank
    assert modes(fuller, start=bright) == ["few dimensions"]
