"""What a person sees of a pretraining run: a progress bar on stderr and ``log.csv``."""

import time
from csv import DictWriter
from pathlib import Path
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from cxrbench.encoders.trainer import Pretraining


class Progress(lightning.Callback):
    """One row per optimiser step in ``csv``; a bar where stderr is a terminal. Only the first process does this."""

    def __init__(self, csv: Path) -> None:
        self.csv = csv
        self.bar: Bar | None = None
        self.seconds = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Open the bar; forget the rows that a killed run wrote after its last checkpoint."""
        assert isinstance(pl_module, Pretraining)
        self.seconds = time.monotonic()
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
        self.bar.add_task("pretraining", total=pl_module.plan["steps"], completed=trainer.global_step, note="")
        self.bar.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the row of a finished optimiser step."""
        assert isinstance(pl_module, Pretraining)
        plan, number = pl_module.plan, int(batch[1]) + 1
        if self.bar is None or number % plan["accumulate"]:
            return
        now = time.monotonic()
        speed = plan["batch_size"] * plan["accumulate"] / max(now - self.seconds, 1e-9)
        self.seconds = now
        row = {
            "step": trainer.global_step,
            "epoch": number / plan["batches_per_epoch"],
            **pl_module.logged,
            "images_per_second": speed,
        }
        first = not self.csv.exists()
        with open(self.csv, "a", newline="") as handle:
            writer = DictWriter(handle, list(row))
            if first:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
        note = f"epoch {row['epoch']:.1f}  loss {row['loss']:.4f}  {speed:.0f} images/s"
        self.bar.update(self.bar.task_ids[0], completed=trainer.global_step, note=note)

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

    def keep_rows_to(self, step: int) -> None:
        """Drop the rows after ``step``, and a last row that was cut off."""
        if self.csv.exists():
            head, *rows = self.csv.read_text().splitlines(keepends=True)
            whole = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
            self.csv.write_text("".join([head, *whole]))
