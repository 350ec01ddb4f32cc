"""PaCX-MAE's stage 1b (arXiv 2606.01537): a denoising autoencoder of laboratory percentiles, many of them missing.

A patient is x in [0, 1]^K and m in {0, 1}^K, 1 where the test was made. Some of what was made is hidden in training
and must be guessed from the rest; the code between is the embedding that stage 2 is taught.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from cxrbench.encoders.pretraining.schedule import learning_rate_factor, parameter_groups
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict, read_state_dict
from cxrbench.files.containers import strip_prefixes
from cxrbench.progress import tracked

INSIDE, WIDTH = 512, 256
HIDDEN = 0.15  # share of the tests made that are hidden in training
VERSION = "1"  # raise when the same labs give another autoencoder

Corruption = Literal["values", "both"]


@dataclass(frozen=True)
class DAERecipe:
    """How it is trained: the official code's numbers, which are meant for Symile-MIMIC's 10,000 admissions.

    ``steps``: at least so many, of however few studies; of 234 phantom ones more do not help. ``warmup``: steps, but a
    tenth of all at most.
    """

    epochs: int = 50
    steps: int = 300
    batch: int = 256
    lr: float = 3e-4
    weight_decay: float = 0.01
    warmup: int = 200


class LabsDAE(nn.Module):
    """``encoder``: [B, 2 K] of values and mask to [B, 256]; ``decoder``: back to [B, K] in (0, 1)."""

    def __init__(self, labs: int, inside: int = INSIDE, width: int = WIDTH) -> None:
        super().__init__()
        self.labs, self.width = labs, width
        self.encoder = nn.Sequential(
            nn.Linear(2 * labs, inside), nn.LayerNorm(inside), nn.GELU(), nn.Linear(inside, width)
        )
        self.decoder = nn.Sequential(nn.Linear(width, inside), nn.GELU(), nn.Linear(inside, labs), nn.Sigmoid())

    def embed(self, x: Tensor, made: Tensor) -> Tensor:
        """Values and mask [B, K] to embeddings [B, 256]. Values are taken as they are, missing ones too."""
        return self.encoder(torch.cat([x, made], dim=1))

    def forward(self, x: Tensor, made: Tensor) -> Tensor:
        """Values and mask [B, K] to reconstructed values [B, K]."""
        return self.decoder(self.embed(x, made))


def corrupted(x: Tensor, made: Tensor, noise: Tensor, kind: Corruption = "both") -> tuple[Tensor, Tensor]:
    """Values and mask as the encoder sees them in training: missing values are 0, and so is each test made with p .15.

    x, made: [B, K]; noise: uniform [B, K]. ``both``: the mask is hidden, too, as the official code does, and a hidden
    test looks like one that was not made. ``values``: only the value, as the paper says; then it looks like the lowest
    percentile, and what is guessed for it is worse than its mean (phantom, test: squared error .111, both .074, mean
    .086).
    """
    shown = made * (noise >= HIDDEN)
    return x * shown, made if kind == "values" else shown


def reconstruction_loss(guess: Tensor, x: Tensor, made: Tensor) -> Tensor:
    """Mean squared error over all tests made, hidden or not: Σ m (x̂ - x)² / (Σ m + 1e-6)."""
    return (made * (guess - x).square()).sum() / (made.sum() + 1e-6)


def train_dae(
    x: Tensor, made: Tensor, *, kind: Corruption = "both", seed: int = 0, recipe: DAERecipe | None = None
) -> LabsDAE:
    """The autoencoder of percentiles x [n, K] (anything where missing) and their mask, from ``seed`` alone."""
    recipe, draw = recipe or DAERecipe(), torch.Generator().manual_seed(seed)
    x = torch.where(made > 0, x, 0.0)  # NaN times no mask would be NaN
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LabsDAE(x.shape[1])
    batch = min(recipe.batch, len(x))
    per_epoch = math.ceil(len(x) / batch)
    steps = max(recipe.steps, recipe.epochs * per_epoch)
    groups = parameter_groups(model, recipe.weight_decay)
    optimizer, order = AdamW(groups, lr=recipe.lr), torch.empty(0, dtype=torch.long)
    for step in tracked(range(steps), "training a teacher of laboratory values", steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(x), generator=draw)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * learning_rate_factor(step, steps, min(recipe.warmup, steps // 10))
        rows = order[step % per_epoch * batch :][:batch]
        noise = torch.rand(len(rows), x.shape[1], generator=draw)
        loss = reconstruction_loss(model(*corrupted(x[rows], made[rows], noise, kind)), x[rows], made[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def labs_embeddings(model: LabsDAE, x: Tensor, made: Tensor, fill: Tensor | None = None) -> Tensor:
    """Embeddings [n, 256] of percentiles x [n, K] and their mask.

    Missing values are 0, as in training. The official code leaves them at the training means that Symile-MIMIC stores,
    which the encoder has never seen: ``fill`` [K] does that.
    """
    with torch.inference_mode():
        return model.embed(torch.where(made > 0, x, 0.0 if fill is None else fill), made).clone()


def load_dae(path: Path, labs: int) -> LabsDAE:
    """Weights of ours, or a Lightning checkpoint with the official layers under ``model.``. Raises UserError."""
    state: Mapping[str, Tensor] = strip_prefixes(read_state_dict(path), ("model.",))
    first = state.get("encoder.0.weight")
    code = state.get("encoder.3.weight")
    if first is None or code is None:
        raise UserError(f"{path} is no autoencoder of labs (it has {', '.join(sorted(state)[:4])}): pass stage 1b's")
    if first.shape[1] != 2 * labs:
        raise UserError(f"{path} is of {first.shape[1] // 2} laboratory tests, the data have {labs}: pass another")
    model = LabsDAE(labs, first.shape[0], code.shape[0])
    load_strict(model, state, path)
    return model.eval().requires_grad_(False)
