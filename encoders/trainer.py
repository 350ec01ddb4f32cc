"""The training loop on Lightning: a run is one stream of batches, each a pure function of (seed, its number)."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Sampler

from cxrbench.atomic import atomic_path
from cxrbench.encoders.checkpoint import KEY
from cxrbench.encoders.method import Draw, Objective
from cxrbench.encoders.prepared import Prepared
from cxrbench.encoders.schedule import learning_rate_factor, parameter_groups
from cxrbench.errors import UserError

ORDER, MASKS = 0, 1  # purposes of random numbers


def generator(seed: int, purpose: int, number: int) -> torch.Generator:
    """A CPU generator that depends on its arguments alone, so that a resumed run needs no random state."""
    state = np.random.SeedSequence([seed, purpose, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


class Stream(Dataset[tuple[Tensor, int]]):
    """Item i: the images of batch i of the whole run, uint8 [B / world, 1, size, size], and i itself.

    Every epoch is a fresh permutation cut into whole batches; what is left over is dropped.
    """

    def __init__(self, prepared: Prepared, batch: int, seed: int, rank: int, world: int) -> None:
        self.images, self.batch, self.seed = prepared.open(), batch, seed
        self.share = slice(rank * (batch // world), (rank + 1) * (batch // world))
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        epoch, position = divmod(i, len(self.images) // self.batch)
        if epoch != self.epoch:
            order = torch.randperm(len(self.images), generator=generator(self.seed, ORDER, epoch))
            self.epoch, self.order = epoch, order.numpy()
        rows = self.order[position * self.batch : (position + 1) * self.batch][self.share]
        return torch.from_numpy(self.images[rows]), i


class From(Sampler[int]):
    """start, ..., total - 1. Its length is the total, which is what Lightning's own counters, restored, run up to."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total


class Pretraining(lightning.LightningModule):
    """Any objective, AdamW(0.9, 0.95), warm-up and cosine. ``start``: the batch to go on from."""

    def __init__(
        self, objective: Objective, prepared: Prepared, plan: Mapping[str, Any], facts: Mapping[str, Any], start: int
    ) -> None:
        super().__init__()
        if not isinstance(objective, nn.Module):
            raise TypeError("an objective is an nn.Module")
        self.objective, self.prepared, self.plan, self.facts, self.start = objective, prepared, plan, facts, start
        self.logged: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[tuple[Tensor, int]]:
        """Batches from ``start`` on; this process's share of each."""
        trainer, plan = self.trainer, self.plan
        stream = Stream(self.prepared, plan["batch_size"], plan["seed"], trainer.global_rank, trainer.world_size)
        return DataLoader(stream, batch_size=None, sampler=From(self.start, plan["steps"] * plan["accumulate"]))

    def training_step(self, batch: tuple[Tensor, int]) -> Tensor:
        """The loss of one batch; stops on a loss that is no number."""
        images, number = batch
        draw = Draw(generator(self.plan["seed"], MASKS, number), self.trainer.global_rank, self.trainer.world_size)
        loss = self.objective(self.normalised(images), draw)
        value = loss.value.item()
        if not math.isfinite(value):
            raise UserError(self.diverged("loss", value))
        self.logged |= {"loss": value} | {name: float(scalar) for name, scalar in loss.logged.items()}
        return loss.value

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 [B, 1, size, size] to the float batch that the encoder will see: [B, channels, size, size]."""
        pre = self.objective.preprocess
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (pre.mean, pre.std))
        return ((images.float() / 255 - mean) / std).expand(-1, pre.channels, -1, -1)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient's norm; stops before the optimiser steps on a gradient that is no number."""
        norm = nn.utils.clip_grad_norm_(self.parameters(), self.plan["clip"]).item()
        if not math.isfinite(norm):
            raise UserError(self.diverged("gradient", norm))
        self.logged["gradient_norm"] = norm

    def diverged(self, what: str, value: float) -> str:
        """What to tell the user when training has blown up."""
        out = self.plan["out"]
        kept = (
            f"the last good checkpoint is {out}/last.ckpt"
            if Path(out, "last.ckpt").exists()
            else "nothing was saved yet"
        )
        return (
            f"the {what} is {value} at step {self.global_step + 1}; {kept}; lower the learning rate or use precision 32"
        )

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule, stepped once per optimiser step."""
        plan = self.plan
        optimizer = AdamW(parameter_groups(self.objective, plan["weight_decay"]), lr=plan["lr"], betas=(0.9, 0.95))  # type: ignore[arg-type]
        warmup = round(plan["warmup"] * plan["steps"])
        schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, plan["steps"], warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put our facts into the checkpoint; refuse to save weights that are no numbers."""
        if not all(bool(p.isfinite().all()) for p in self.parameters()):
            raise UserError(self.diverged("weight", math.nan))
        checkpoint[KEY] = json.dumps(self.facts)


class Checkpoints(lightning.Callback):
    """``last.ckpt`` every ``every`` optimiser steps and at the end; ``epoch-N.ckpt`` every ``keep`` epochs, if any."""

    def __init__(self, out: Path, every: int, keep: int) -> None:
        self.out, self.every, self.keep = out, every, keep

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when due; only between optimiser steps, never while gradients are being accumulated."""
        assert isinstance(pl_module, Pretraining)
        plan, step, number = pl_module.plan, trainer.global_step, int(batch[1]) + 1
        if number % plan["accumulate"]:
            return
        if step % self.every == 0 or step == plan["steps"]:
            trainer.save_checkpoint(self.out / "last.ckpt")
        epoch, rest = divmod(number, plan["batches_per_epoch"])
        if self.keep and rest == 0 and epoch % self.keep == 0:
            trainer.save_checkpoint(self.out / f"epoch-{epoch:04d}.ckpt")


class AtomicIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, even after SIGKILL."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside ``path``, sync, rename."""
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def fit(
    module: Pretraining, callbacks: list[lightning.Callback], *, precision: str, accelerator: str, devices: int
) -> None:
    """Train to the plan's last step, from ``last.ckpt`` if ``module.start`` is not 0."""
    plan = module.plan
    strategy = "auto" if devices == 1 else DDPStrategy(start_method="spawn" if not launched() else "popen")
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=1,
        max_steps=plan["steps"],
        accumulate_grad_batches=plan["accumulate"],
        callbacks=callbacks,
        plugins=[AtomicIO()],
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=plan["out"],
    )
    with warnings.catch_warnings():
        # Lightning cannot know that our stream starts at the right batch, nor that its order needs no worker processes.
        warnings.filterwarnings("ignore", message=".*(not resumable|many workers|LeafSpec).*")
        trainer.fit(module, ckpt_path=Path(plan["out"], "last.ckpt") if module.start else None, weights_only=True)


def launched() -> bool:
    """Whether torchrun or Slurm has started one process per device already."""
    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect()
