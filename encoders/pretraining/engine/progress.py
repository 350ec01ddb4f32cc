"""What a person sees of a pretraining run: a progress bar on stderr, ``log.csv`` and TensorBoard's curves."""

import io
import math
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from csv import DictReader, DictWriter
from itertools import count
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch.utils.tensorboard import SummaryWriter

from cxrbench.encoders.pretraining.engine.trainer import Pretraining
from cxrbench.files.atomic import atomic_path
from cxrbench.loggers.contract import Careful, open_logger
from cxrbench.progress import Heartbeat, counted

SHORT = {
    "effective_rank": ("rank", ".1f"),
    "first_component": ("first", ".0%"),
    "spread": ("spread", ".3f"),
    "uniformity": ("uniformity", ".2f"),
    "crop_alignment": ("alignment", ".3f"),
    "probe_auroc": ("probe", ".3f"),
}


START = "step,"
"""What ``log.csv`` begins with."""


class TrainingProgress(lightning.Callback):
    """One row per optimizer step in ``log.csv`` and ``tensorboard/``; a bar where stderr is a terminal.

    ``waiting`` is the share of the step's time in which training waited for its data; time in which nothing was trained
    (watching, checkpoints, pictures) counts neither there nor in ``units_per_second``. ``gpu_memory``: the most so far,
    in 10⁹ bytes, where there is a GPU. What is watched stands in the rows of the steps in which it was looked at. Only
    the first process does this. ``log``: an experiment logger that gets the same numbers.
    """

    def __init__(self, out: Path, log: str | None = None) -> None:
        self.sent_to = log  # Lightning gives each callback a method ``log``
        self.logger: Careful | None = None  # opened where it logs
        self.csv, self.curves = out / "log.csv", out / "tensorboard"
        self.bar: Bar | None = None
        self.writer: SummaryWriter | None = None
        self.heartbeat: Heartbeat | None = None  # made where it beats: a process that is started gets a copy of this
        self.seconds = self.batch_ended = self.waited = 0.0  # on a clock that stands still in pauses
        self.hook: Callable[[threading.ExceptHookArgs], Any] | None = None  # set where it logs
        self.rate = math.nan
        self.names: list[str] = []
        self.looked: dict[str, float] = {}  # what was watched last

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar; forget the rows that a killed run wrote after its last checkpoint."""
        assert isinstance(pl_module, Pretraining)
        self.seconds = self.batch_ended = trained(pl_module)
        if not trainer.is_global_zero:
            return
        if trainer.global_step:
            self.keep_rows_to(trainer.global_step)
        else:
            self.csv.unlink(missing_ok=True)
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bar = Bar(*columns, console=console, disable=not console.is_terminal)
        self.bar.add_task("pretraining", total=pl_module.plan.steps, completed=trainer.global_step, note="")
        self.bar.start()
        self.heartbeat = Heartbeat(self.line)
        self.heartbeat.__enter__()
        self.hook, threading.excepthook = threading.excepthook, self.thread_died
        self.writer = SummaryWriter(str(self.curves), purge_step=trainer.global_step + 1 if trainer.global_step else 0)
        if self.sent_to is not None:
            self.logger = open_logger(self.sent_to, f"pretraining {self.csv.parent.name}", pl_module.facts["config"])
        self.looked = known(pl_module.watched)
        if not trainer.global_step:
            self.draw(self.looked, 0)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there: what has passed since the last one ended was waiting."""
        assert isinstance(pl_module, Pretraining)
        self.waited += trained(pl_module) - self.batch_ended

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the step's learning rate: when the batch ends it is the next step's."""
        self.rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the row of a finished optimizer step."""
        assert isinstance(pl_module, Pretraining)
        plan, number = pl_module.plan, int(batch[1]) + 1
        if self.bar is None or number % plan.accumulate:
            self.batch_ended = trained(pl_module)
            return
        now = trained(pl_module)
        step_seconds = max(now - self.seconds, 1e-9)
        speed, waiting = plan.batch_size * plan.accumulate / step_seconds, self.waited / step_seconds
        self.seconds, self.waited = now, 0.0
        row = {
            "step": trainer.global_step,
            "epoch": number / plan.batches_per_epoch,
            **pl_module.logged,
            "learning_rate": self.rate,
            "units_per_second": speed,
            "waiting": waiting,
        }
        if pl_module.device.type == "cuda":
            row["gpu_memory"] = torch.cuda.max_memory_allocated(pl_module.device) / 1e9
        self.write(row | pl_module.watched)
        self.looked |= known(pl_module.watched)
        self.draw(
            {name: value for name, value in row.items() if name != "step"} | pl_module.watched, trainer.global_step
        )
        self.bar.update(self.bar.task_ids[0], completed=trainer.global_step, note=note(row, self.looked))
        self.batch_ended = trained(pl_module)

    def write(self, row: Mapping[str, float | None]) -> None:
        """Add a row to ``log.csv``. A file that a run with other columns began gets the new ones."""
        if not self.names:
            before = list(DictReader(io.StringIO(self.csv.read_text()))) if self.csv.exists() else []
            self.names = list(dict.fromkeys([*(before[0] if before else ()), *row]))
            with atomic_path(self.csv) as temporary, open(temporary, "w", newline="") as handle:
                writer = DictWriter(handle, self.names, restval="")
                writer.writeheader()
                writer.writerows(before)
        with open(self.csv, "a", newline="") as handle:
            texts = {name: "" if value is None else f"{value:.6g}" for name, value in row.items()}
            DictWriter(handle, self.names, restval="").writerow(texts)

    def draw(self, values: Mapping[str, float | None], step: int) -> None:
        """Points of TensorBoard's curves, and of a logger's."""
        for name, value in values.items():
            if self.writer is not None and value is not None:
                self.writer.add_scalar(name, value, step)
        if self.logger is not None:
            self.logger.log(values, step)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        self.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error message stands on a line of its own."""
        self.stop()

    def thread_died(self, arguments: threading.ExceptHookArgs) -> None:
        """No traceback of TensorBoard's thread, which a full disk ends: the next curve drawn raises its error again."""
        if self.hook is not None and not type(arguments.thread).__module__.startswith("tensorboard"):
            self.hook(arguments)

    def stop(self) -> None:
        """Give the terminal back."""
        if self.bar is not None:
            self.bar.stop()
        if self.heartbeat is not None:
            self.heartbeat.__exit__(None, None, None)
        try:
            if self.writer is not None:
                self.writer.close()
        finally:
            threading.excepthook = self.hook or threading.excepthook
            if self.logger is not None:
                self.logger.end()

    def line(self) -> str:
        """What the bar would show, for a log: steps, epoch, loss, speed."""
        assert self.bar is not None
        task = self.bar.tasks[0]
        return f"{counted('pretraining', task.completed, task.total)} steps, {task.fields['note']}".rstrip(", ")

    def keep_rows_to(self, step: int) -> None:
        """Drop the rows after ``step``, and a last row that was cut off; what else is no log of ours is set aside."""
        if not self.csv.exists():
            return
        first, *rows = self.csv.read_text(errors="replace").splitlines(keepends=True) or [""]
        rows = [row for row in rows if row.endswith("\n")]
        whole = [row for row in rows if is_row(row, first)]
        if len(whole) < len(rows) or not (first.startswith(START) or START.startswith(first)):
            aside = next(path for n in count(1) if not (path := self.csv.with_name(f"log.damaged-{n}.csv")).exists())
            shutil.copyfile(self.csv, aside)
            print(
                f"warning: {self.csv} is damaged: {len(whole):,} of its {len(rows):,} rows are gone on with, and "
                f"{aside.name} is what it was",
                file=sys.stderr,
            )
        kept = [row for row in whole if int(row.split(",")[0]) <= step]
        if not kept:
            self.csv.unlink()
            return
        with atomic_path(self.csv) as temporary:
            temporary.write_text("".join([first, *kept]))


def is_row(row: str, first: str) -> bool:
    """Whether a line of ``log.csv`` is a row under its ``first`` line."""
    return first.startswith(START) and row.count(",") == first.count(",") and row.split(",")[0].isdecimal()


def trained(module: Pretraining) -> float:
    """Seconds on a clock that stands still while nothing is trained."""
    return time.monotonic() - module.paused


def known(values: Mapping[str, float | None]) -> dict[str, float]:
    """What this step has been watched for."""
    return {name: value for name, value in values.items() if value is not None}


def note(row: Mapping[str, float], looked: Mapping[str, float]) -> str:
    """The facts of a step for one line; of several networks that are watched, those of the first."""
    parts = [
        f"epoch {row['epoch']:.1f}  loss {row['loss']:.4f}  {row['units_per_second']:.0f}/s",
        f"lr {row['learning_rate']:.1e}  waiting {row['waiting']:.0%}",
    ]
    if "gpu_memory" in row:
        parts.append(f"GPU {row['gpu_memory']:.1f} GB")
    for figure, (word, form) in SHORT.items():
        found = [value for name, value in looked.items() if name.startswith(figure)]
        parts += [f"{word} {found[0]:{form}}"] if found else []
    return "  ".join(parts)
