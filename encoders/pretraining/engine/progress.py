"""What a person sees of a pretraining run: a progress bar on stderr, ``log.csv`` and TensorBoard's curves."""

import time
from csv import DictWriter
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch.utils.tensorboard import SummaryWriter

from cxrbench.encoders.pretraining.engine.trainer import Pretraining
from cxrbench.files.atomic import atomic_path
from cxrbench.progress import Heartbeat, counted


class TrainingProgress(lightning.Callback):
    """One row per optimizer step in ``log.csv`` and ``tensorboard/``; a bar where stderr is a terminal.

    ``waiting`` is the share of the step's time in which training waited for its data. Only the first process does this.
    """

    def __init__(self, out: Path) -> None:
        self.csv, self.curves = out / "log.csv", out / "tensorboard"
        self.bar: Bar | None = None
        self.writer: SummaryWriter | None = None
        self.heartbeat: Heartbeat | None = None  # made where it beats: a process that is started gets a copy of this
        self.seconds = self.batch_ended = self.waited = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar; forget the rows that a killed run wrote after its last checkpoint."""
        assert isinstance(pl_module, Pretraining)
        self.seconds = self.batch_ended = time.monotonic()
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
        self.writer = SummaryWriter(str(self.curves), purge_step=trainer.global_step + 1)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there: what has passed since the last one ended was waiting."""
        self.waited += time.monotonic() - self.batch_ended

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the row of a finished optimizer step."""
        assert isinstance(pl_module, Pretraining)
        plan, number = pl_module.plan, int(batch[1]) + 1
        if self.bar is None or number % plan.accumulate:
            self.batch_ended = time.monotonic()
            return
        now = time.monotonic()
        step_seconds = max(now - self.seconds, 1e-9)
        speed, waiting = plan.batch_size * plan.accumulate / step_seconds, self.waited / step_seconds
        self.seconds, self.waited = now, 0.0
        row = {
            "step": trainer.global_step,
            "epoch": number / plan.batches_per_epoch,
            **pl_module.logged,
            "units_per_second": speed,
            "waiting": waiting,
        }
        first = not self.csv.exists()
        with open(self.csv, "a", newline="") as handle:
            writer = DictWriter(handle, list(row))
            if first:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
        for name, value in row.items():
            if self.writer is not None and name != "step":
                self.writer.add_scalar(name, value, trainer.global_step)
        note = f"epoch {row['epoch']:.1f}  loss {row['loss']:.4f}  {speed:.0f}/s"
        self.bar.update(self.bar.task_ids[0], completed=trainer.global_step, note=note)
        self.batch_ended = time.monotonic()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Close the bar."""
        self.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the error message stands on a line of its own."""
        self.stop()

    def stop(self) -> None:
        """Give the terminal back."""
        if self.bar is not None:
            self.bar.stop()
        if self.heartbeat is not None:
            self.heartbeat.__exit__(None, None, None)
        if self.writer is not None:
            self.writer.close()

    def line(self) -> str:
        """What the bar would show, for a log: steps, epoch, loss, speed."""
        assert self.bar is not None
        task = self.bar.tasks[0]
        return f"{counted('pretraining', task.completed, task.total)} steps, {task.fields['note']}".rstrip(", ")

    def keep_rows_to(self, step: int) -> None:
        """Drop the rows after ``step``, and a last row that was cut off."""
        if self.csv.exists():
            lines = self.csv.read_text().splitlines(keepends=True)
            whole = [row for row in lines[1:] if row.endswith("\n") and int(row.split(",")[0]) <= step]
            if not whole:
                self.csv.unlink()
                return
            with atomic_path(self.csv) as temporary:
                temporary.write_text("".join([lines[0], *whole]))
