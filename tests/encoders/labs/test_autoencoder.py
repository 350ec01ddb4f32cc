"""The autoencoder of laboratory values (docs/methods.md): its invariants, its variants, and what it learns."""

import math
from pathlib import Path

import pytest
import torch
from sklearn.impute import SimpleImputer
from torch import Tensor, nn

from cxrbench.encoders.labs.autoencoder import (
    DAERecipe,
    LabsDAE,
    corrupted,
    labs_embeddings,
    load_dae,
    reconstruction_loss,
    train_dae,
)
from cxrbench.errors import UserError

QUICK = DAERecipe(epochs=1, steps=120, batch=64, lr=4e-3, warmup=10)


def patients(n: int = 300, labs: int = 12, missing: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Percentiles that three hidden causes explain, and which tests were made."""
    g = torch.Generator().manual_seed(seed)
    loadings = torch.randn(3, labs, generator=torch.Generator().manual_seed(99))
    x = torch.sigmoid(2 * torch.randn(n, 3, generator=g) @ loadings)
    return x, (torch.rand(n, labs, generator=g) >= missing).float()


def test_shape_is_the_papers() -> None:
    with torch.device("meta"):
        model = LabsDAE(50)
    encoder = (100 * 512 + 512) + 2 * 512 + (512 * 256 + 256)
    assert sum(p.numel() for p in model.parameters()) == encoder + (256 * 512 + 512) + (512 * 50 + 50)


def test_output_is_between_0_and_1_and_an_empty_row_is_finite() -> None:
    torch.manual_seed(0)
    model = LabsDAE(12)
    x, made = patients(20)
    out = model(10 * x, made)
    assert ((out > 0) & (out < 1)).all()
    none = torch.zeros(4, 12)
    loss = reconstruction_loss(model(none, none), torch.full((4, 12), torch.nan).nan_to_num(), none)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_training_does_not_mind_what_stands_where_nothing_was_measured() -> None:
    x, made = patients(64)
    recipe = DAERecipe(epochs=1, steps=3, batch=64)
    models = [train_dae(torch.where(made > 0, x, gap), made, recipe=recipe) for gap in (0.0, math.nan)]
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["values", "both"])
def test_values_of_tests_that_were_not_made_count_for_nothing(kind) -> None:
    torch.manual_seed(0)
    model = LabsDAE(12)
    x, made = patients()
    other = torch.where(made > 0, x, torch.rand(x.shape))
    noise = torch.rand(x.shape)
    losses = [reconstruction_loss(model(*corrupted(v, made, noise, kind)), v, made) for v in (x, other)]
    assert losses[0].item() == losses[1].item() > 0
    torch.testing.assert_close(labs_embeddings(model, x, made), labs_embeddings(model, other, made))


def test_corruption_hides_15_percent_of_the_tests_made_and_touches_no_other() -> None:
    x, made = patients(4000)
    x = x.clamp(min=0.01)
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    (values, mask), (values2, mask2) = (corrupted(x, made, noise, kind) for kind in ("values", "both"))
    hidden = (values == 0) & (made > 0)
    share = float(hidden.sum() / made.sum())
    assert share == pytest.approx(0.15, abs=5 * (0.15 * 0.85 / float(made.sum())) ** 0.5)
    assert torch.equal(values, values2)
    assert torch.equal(values[~hidden], (x * made)[~hidden])
    assert torch.equal(mask, made)  # paper
    assert torch.equal(mask2, made * ~hidden)  # official code
    assert (mask2[made == 0] == 0).all()


def test_loss_is_a_mean_over_the_tests_made() -> None:
    x, made = patients(8)
    guess = torch.rand(x.shape)
    expected = nn.functional.mse_loss(guess[made > 0], x[made > 0])
    torch.testing.assert_close(reconstruction_loss(guess, x, made), expected)


def test_hidden_tests_are_guessed_better_than_by_their_means() -> None:
    x, made = patients()
    model = train_dae(x, made, recipe=QUICK)
    fresh, was_made = patients(seed=1)
    noise = torch.rand(fresh.shape, generator=torch.Generator().manual_seed(2))
    hidden = was_made * (noise < 0.15)
    guess = model(*corrupted(fresh, was_made, noise))
    known = torch.where(made > 0, x, torch.nan)
    means = torch.from_numpy(SimpleImputer().fit(known.numpy()).statistics_).float().expand_as(fresh)
    error, naive = (float(reconstruction_loss(g, fresh, hidden)) for g in (guess, means))
    assert error < 0.6 * naive
    assert not any(p.requires_grad for p in model.parameters())


def test_training_follows_from_its_seed_and_never_sees_missing_values() -> None:
    x, made = patients(60)
    recipe = DAERecipe(epochs=1, steps=5, batch=32)
    first, again = (train_dae(v, made, recipe=recipe) for v in (x, torch.where(made > 0, x, 0.123)))
    other = train_dae(x, made, seed=1, recipe=recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.encoder[0].weight, other.encoder[0].weight)  # type: ignore[arg-type]


def test_the_official_embedding_fills_missing_values() -> None:
    torch.manual_seed(0)
    model = LabsDAE(12)
    x, made = patients(40)
    fill = torch.rand(12)
    official = labs_embeddings(model, x, made, fill)
    by_hand = model.embed(torch.where(made > 0, x, fill.expand_as(x)), made)
    torch.testing.assert_close(official, by_hand.detach())
    assert not torch.allclose(official, labs_embeddings(model, x, made))


def test_checkpoints_load_strictly(tmp_path: Path) -> None:
    model = LabsDAE(12)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "labs.ckpt")
    loaded = load_dae(tmp_path / "labs.ckpt", 12)
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), state.values(), strict=True))
    with pytest.raises(UserError, match="of 12 laboratory tests, the data have 50"):
        load_dae(tmp_path / "labs.ckpt", 50)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="no autoencoder of labs"):
        load_dae(tmp_path / "other.pth", 12)
