"""The training loop on Lightning: a run is one stream of batches, each a pure function of (seed, its number)."""

import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Sampler

from cxrbench.encoder import Preprocess
from cxrbench.encoders.backbones.checkpoint import KEPT, KEY
from cxrbench.encoders.pretraining.corpus import Corpus
from cxrbench.encoders.pretraining.engine.checkpoint_io import AtomicIO
from cxrbench.encoders.pretraining.engine.model_card import with_training
from cxrbench.encoders.pretraining.engine.plan import TrainingPlan
from cxrbench.encoders.pretraining.method import Batch, Draw, Objective
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe
from cxrbench.encoders.pretraining.schedule import DECAYED, half_cosine, learning_rate_factor, parameter_groups
from cxrbench.errors import UserError

ORDER, MASKS, EXAMPLES, DROPOUT = range(4)  # purposes of random numbers

NOISE = ".*(not resumable|many workers|LeafSpec|persistent_workers|srun).*"
"""Lightning cannot know that our stream starts at the right batch, nor that its order needs no worker processes."""

Item = tuple[dict[str, Tensor] | UserError, int]


def seed_of(*numbers: int) -> np.random.SeedSequence:
    """What depends on its arguments alone, so that a resumed run needs no random state."""
    return np.random.SeedSequence(numbers)


def generator(seed: int, purpose: int, number: int) -> torch.Generator:
    """A CPU generator of batch or epoch ``number``."""
    return torch.Generator().manual_seed(int(seed_of(seed, purpose, number).generate_state(1, np.uint64)[0]))


class Stream(Dataset[Item]):
    """Item i: this process's share of batch i of the whole run, and i itself; or the UserError that reading it raised.

    Every epoch is a fresh permutation of the corpus cut into whole batches; what is left over is dropped.
    """

    def __init__(self, corpus: Corpus, batch: int, seed: int, rank: int, world: int) -> None:
        self.corpus, self.size, self.seed = corpus, batch, seed
        self.share = slice(rank * (batch // world), (rank + 1) * (batch // world))
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def __getitem__(self, i: int) -> Item:
        epoch, position = divmod(i, len(self.corpus) // self.size)
        if epoch != self.epoch:
            order = torch.randperm(len(self.corpus), generator=generator(self.seed, ORDER, epoch))
            self.epoch, self.order = epoch, order.numpy()
        units = self.order[position * self.size : (position + 1) * self.size][self.share]
        places = range(self.size)[self.share]
        rngs = [np.random.default_rng(seed_of(self.seed, EXAMPLES, i, place)) for place in places]
        try:
            return self.corpus.batch(units, rngs), i
        except UserError as error:  # from a worker process it would come out as another type
            return UserError(str(error)), i


class From(Sampler[int]):
    """start, ..., total - 1. Its length is the total, which is what Lightning's own counters, restored, run up to."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total


def as_batch(read: Mapping[str, Tensor], preprocess: Preprocess) -> Batch:
    """What a corpus gives, with its uint8 images [..., 1, S, S] as the encoder will see them: [..., channels, S, S]."""
    images = read["images"]
    mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (preprocess.mean, preprocess.std))
    shape = (*images.shape[:-3], preprocess.channels, *images.shape[-2:])
    normalised = (images.float().div_(255) - mean).div_(std).expand(shape)
    return Batch(normalised, {name: tensor for name, tensor in read.items() if name != "images"})


class Pretraining(lightning.LightningModule):
    """Any objective, AdamW, warm-up and cosine, as ``recipe`` says. ``start``: the batch to go on from.

    ``record``: what training says of itself (plain JSON values); it is kept with every checkpoint and gone on with.
    ``logged``: the scalars of the last step; ``watched``: the figures of whoever watches, None where it has none;
    ``paused``: seconds, all together, in which nothing was trained.
    """

    def __init__(
        self,
        objective: Objective,
        corpus: Corpus,
        recipe: PretrainingRecipe,
        plan: TrainingPlan,
        facts: Mapping[str, Any],
        start: int,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.objective, self.corpus, self.recipe = objective, corpus, recipe
        self.plan, self.facts, self.start = plan, facts, start
        self.logged: dict[str, float] = {}
        self.record = dict(record or {})
        self.watched: dict[str, float | None] = {}
        self.paused = 0.0

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches from ``start`` on; this process's share of each."""
        trainer, plan = self.trainer, self.plan
        stream = Stream(self.corpus, self.recipe.batch_size, plan.seed, trainer.global_rank, trainer.world_size)
        return DataLoader(
            stream,
            batch_size=None,
            sampler=From(self.start, plan.batches),
            num_workers=plan.loaders,
            multiprocessing_context="spawn" if plan.loaders else None,
        )

    def draw(self, number: int) -> Draw:
        """The randomness of batch ``number``."""
        progress = number / self.plan.batches
        masks = generator(self.plan.seed, MASKS, number)
        return Draw(masks, self.trainer.global_rank, self.trainer.world_size, progress)

    def training_step(self, item: Item) -> Tensor:
        """The loss of one batch; stops on a batch that cannot be read and on a loss that is no number."""
        read, number = item
        if isinstance(read, UserError):
            raise read
        with torch.random.fork_rng():
            # Dropout knows the global state alone: it follows from the batch too, or a resumed run would differ.
            dropout = seed_of(self.plan.seed, DROPOUT, number, self.trainer.global_rank)
            torch.manual_seed(int(dropout.generate_state(1, np.uint64)[0] >> 1))
            draw = self.draw(number)
            batch = self.objective.augmented(as_batch(read, self.objective.preprocess), draw)
            loss = self.objective(batch, draw)
        told = self.of_all_processes({"loss": loss.value, **loss.logged})
        if not math.isfinite(told["loss"]):
            raise UserError(self.diverged("loss", told["loss"]))
        self.logged |= told
        return loss.value

    def of_all_processes(self, scalars: Mapping[str, Tensor]) -> dict[str, float]:
        """The means over the processes, each of which has its own share of the batch."""
        ours = torch.stack([scalar.detach().float().to(self.device) for scalar in scalars.values()])
        means: Tensor = self.trainer.strategy.reduce(ours, reduce_op="mean")
        return dict(zip(scalars, means.tolist(), strict=True))

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """One step; then whatever the objective does after it (moving averages)."""
        super().optimizer_step(*arguments, **named)
        self.objective.after_step(self.trainer.global_step / self.plan.steps)  # it counts this step later

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient's norm, if at all; stops before the optimizer steps on a gradient that is no number."""
        norm = nn.utils.clip_grad_norm_(self.parameters(), self.recipe.clip or math.inf).item()
        if not math.isfinite(norm):
            raise UserError(self.diverged("gradient", norm))
        self.logged["gradient_norm"] = norm

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done in it is no training: its time counts for no speed."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.paused += time.monotonic() - began

    def diverged(self, what: str, value: float, step: int | None = None) -> str:
        """What to tell the user when training has blown up at ``step``, or in the one that is being made."""
        return (
            f"the {what} is {value} at step {step or self.global_step + 1}; {self.saved()}; "
            "lower the learning rate or use precision 32, in another --out"
        )

    def saved(self) -> str:
        """What a user can go on from."""
        last = self.plan.last
        return f"the last good checkpoint is {last}" if last.exists() else "nothing was saved yet"

    def going_on(self) -> str:
        """The same, and how to go on from it."""
        how = "with --resume to go on" if self.plan.last.exists() else "again"
        return f"{self.saved()}: run the same command {how}"

    def configure_optimizers(self) -> Any:
        """AdamW and its schedules, stepped once per optimizer step."""
        recipe, steps = self.recipe, round(self.recipe.horizon * self.plan.steps)
        own = {name: recipe.peak * factor for name, factor in self.objective.rate_factors().items()}
        groups: Any = parameter_groups(self.objective, recipe.weight_decay, recipe.decayed, own)
        optimizer = AdamW(groups, lr=recipe.peak, betas=recipe.betas, eps=recipe.eps)
        warmup = round(recipe.warmup * steps)
        schedule = LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, steps, warmup, recipe.start_lr, recipe.final_lr)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set this step's weight decay, where it moves."""
        if self.recipe.final_weight_decay is not None:
            done = self.trainer.global_step / (self.recipe.horizon * self.plan.steps)
            decay = half_cosine(self.recipe.weight_decay, self.recipe.final_weight_decay, done)
            optimizer.param_groups[DECAYED]["weight_decay"] = decay

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the encoder as it would be kept now, and our facts; refuse to save weights that are no numbers."""
        if not all(bool(p.isfinite().all()) for p in self.parameters()):
            raise UserError(self.diverged("weight", math.nan, self.global_step))
        checkpoint[KEPT] = {name: tensor.detach() for name, tensor in self.objective.kept().state_dict().items()}
        checkpoint[KEY] = json.dumps(with_training(self.facts, self.record))


def run_trainer(
    module: Pretraining, callbacks: list[lightning.Callback], *, precision: str, accelerator: str, devices: int
) -> None:
    """Train to the plan's last step, from ``last.ckpt`` if ``module.start`` is not 0."""
    plan = module.plan
    strategy = (
        "auto"
        if devices == 1
        else DDPStrategy(
            start_method="popen" if launched(devices) else "spawn",
            find_unused_parameters=True,  # a batch without any report leaves a text decoder without gradients
        )
    )
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        max_epochs=1,
        max_steps=plan.steps,
        accumulate_grad_batches=plan.accumulate,
        callbacks=callbacks,
        # Not started by torchrun or srun: Lightning would take any batch job of Slurm's for one that is.
        plugins=[AtomicIO()] if launched(devices) else [AtomicIO(), LightningEnvironment()],
        use_distributed_sampler=False,
        sync_batchnorm=norms_are_synchronised(accelerator, devices),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=plan.out,
    )
    if trainer.world_size != devices:
        raise UserError(f"{trainer.world_size} processes were started for --devices {devices}: make them as many")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NOISE)
        trainer.fit(module, ckpt_path=plan.last if module.start else None, weights_only=True)


def norms_are_synchronised(accelerator: str, devices: int) -> bool:
    """Whether batch norms see the batches of all processes, as torch can on GPUs alone; on CPUs each has its own."""
    return devices > 1 and accelerator != "cpu" and torch.cuda.is_available()


def launched(devices: int) -> bool:
    """Whether torchrun or Slurm has started one process per device already."""
    if TorchElasticEnvironment.detect():
        return True
    with warnings.catch_warnings():  # Lightning advises srun wherever there is one; none is needed
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        return SLURMEnvironment.detect() and devices > 1 and os.environ["SLURM_NTASKS"] == str(devices)
