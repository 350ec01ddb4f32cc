"""How long a run has trained, over all its resumptions."""

import time
from typing import Any

import lightning
import torch

from cxrbench.encoders.pretraining.engine.trainer import Pretraining

HOUR = 3600.0


class Hours(lightning.Callback):
    """Hours of training in the run's record, as of every checkpoint: ``wall``, and ``gpu`` or else ``cpu``.

    GPU hours are wall hours times processes; CPU hours what the training processes computed, not those that decode.
    Whatever came after the last checkpoint of a run that was killed is lost from the sum, as its steps are.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clocks."""
        assert isinstance(pl_module, Pretraining)
        self.before: dict[str, float] = dict(pl_module.record.get("hours", {}))
        self.began, self.computed = time.monotonic(), time.process_time()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read them."""
        assert isinstance(pl_module, Pretraining)
        wall, computed = time.monotonic() - self.began, time.process_time() - self.computed
        hours = {"wall": wall / HOUR}
        if pl_module.device.type == "cpu":
            own = torch.tensor(computed / HOUR, dtype=torch.float64)
            hours["cpu"] = float(trainer.strategy.reduce(own, reduce_op="sum"))
        else:
            hours["gpu"] = wall * trainer.world_size / HOUR
        pl_module.record["hours"] = self.before | {
            name: self.before.get(name, 0.0) + more for name, more in hours.items()
        }
