"""A linear probe while training: how well ridge regression of embeddings tells the labels of held-out images."""

import math
from typing import Any, NamedTuple

import lightning
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from cxrbench.encoders.pretraining.engine.trainer import Pretraining, as_batch
from cxrbench.encoders.pretraining.engine.watching.evaluating import embed

COLUMN = "probe_auroc"
ALPHAS = tuple(np.logspace(-1, 5, 7))


class Labelled(NamedTuple):
    """``images``: uint8 [n, 1, size, size]; ``targets``: float32 [n, labels], 1, 0, NaN where unknown."""

    images: Tensor
    targets: NDArray[np.float32]


class Probe(lightning.Callback):
    """``probe_auroc`` before the first step, every ``every`` optimizer steps and at the end, by the first process.

    ``fitted``: training images; ``scored``: validation images, with the same labels. Of several networks the one that
    is kept is asked.
    """

    def __init__(self, fitted: Labelled, scored: Labelled, every: int) -> None:
        self.fitted, self.scored, self.every = fitted, scored, every

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The untrained encoder; a resumed run looks when it is due."""
        assert isinstance(pl_module, Pretraining)
        if trainer.is_global_zero:
            pl_module.watched[COLUMN] = None if trainer.global_step else self.asked(pl_module, 0)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask when due."""
        assert isinstance(pl_module, Pretraining)
        if not trainer.is_global_zero:
            return
        step, plan = trainer.global_step, pl_module.plan
        whole = (int(batch[1]) + 1) % plan.accumulate == 0
        due = whole and (step % self.every == 0 or step == plan.steps)
        pl_module.watched[COLUMN] = self.asked(pl_module, step) if due else None

    def asked(self, module: Pretraining, step: int) -> float:
        """The mean AUROC of now, which goes into the record, too."""
        with module.pause():
            fitted, scored = (self.features(module, one.images) for one in (self.fitted, self.scored))
            auroc = mean_auroc(fitted, scored, self.fitted.targets, self.scored.targets)
        told = None if math.isnan(auroc) else auroc
        kept = module.record.get("probe") or {"start": told}
        module.record["probe"] = kept | {"step": step, "now": told}
        return auroc

    def features(self, module: Pretraining, images: Tensor) -> NDArray[np.float64]:
        """Of the network that is kept: [n, D]."""
        batch = as_batch({"images": images.to(module.device)}, module.objective.preprocess)
        with module.trainer.precision_plugin.forward_context():
            return next(iter(embed(module.objective, batch.images).values())).double().numpy()


def mean_auroc(
    fitted: NDArray[np.float64],
    scored: NDArray[np.float64],
    fitted_targets: NDArray[np.float32],
    scored_targets: NDArray[np.float32],
) -> float:
    """Mean over labels [n, labels] of the AUROC of a ridge regression of standardised features [n, D].

    Its strength is chosen by leave-one-out error on the images that it is fitted to. Unknown targets are left out, and
    so are labels of which either set lacks positives or negatives; without any, NaN.
    """
    aurocs = []
    for label in range(fitted_targets.shape[1]):
        known, wanted = fitted_targets[:, label], scored_targets[:, label]
        if any({0.0, 1.0} - set(targets.tolist()) for targets in (known, wanted)):
            continue
        model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(fitted[~np.isnan(known)], known[~np.isnan(known)])
        rows = ~np.isnan(wanted)
        aurocs.append(roc_auc_score(wanted[rows], model.predict(scored[rows])))
    return float(np.mean(aurocs)) if aurocs else math.nan
