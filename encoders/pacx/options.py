"""What can be set in PaCX-MAE's stage 2, and what paper and code set differently."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrbench.encoders.labs.autoencoder import Corruption
from cxrbench.encoders.pacx.corpus import Imputed, Modalities, Teachers
from cxrbench.encoders.pretraining.options import OptionSet, Variant, option
from cxrbench.errors import UserError

WITH_ECG = ("modalities is both or ecg", lambda options: options.modalities != "labs")
WITH_LABS = ("modalities is both or labs", lambda options: options.modalities != "ecg")
OWN_LABS = ("modalities is both or labs, and labs is not given", lambda o: o.modalities != "ecg" and not o.labs)
CONTRASTED = ("contrastive is more than 0", lambda options: options.contrastive)
NORMED = ("heads is normed", lambda options: options.heads == "normed")


@dataclass(frozen=True)
class PaCXOptions:
    """Options of stage 2 and of its teachers."""

    variant: Variant = "fixed"
    ecg: str = option(
        "", "weights of the ECG teacher, e.g. 12_lead_ECGFounder.pth; if not given, a small one is trained on the data",
        when=WITH_ECG,
    )  # fmt: skip
    labs: str = option("", "weights of the labs' autoencoder; if not given, it is trained on the data", when=WITH_LABS)
    modalities: Modalities = option("both", "who teaches")
    contrastive: float = option(0.5, "weight of the contrastive loss", least=0)
    regression: float = option(1.0, "weight of the regression loss", least=0)
    rank: int = option(8, "r of LoRA", least=1)
    alpha: float = option(8.0, "α of LoRA", above=0)
    dropout: float = option(0.1, "of LoRA", least=0, below=1)
    norms: Literal["all", "final"] = option("all", "layer norms of the backbone that are trained beside LoRA")
    norm_eps: float = option(1e-6, "of all layer norms of the backbone", above=0)
    heads: Literal["normed", "linear"] = option("normed", "Dropout, Linear, LayerNorm, or a linear layer alone")
    head_dropout: float = option(0.2, "of the heads", least=0, below=1, when=NORMED)
    projection: int = option(256, "width of what is compared", least=1)
    smoothing: float = option(0.02, "label smoothing ε of the contrast", least=0, below=1, when=CONTRASTED)
    initial_scale: float = option(1 / 0.07, "logit scale at the start", above=0, when=CONTRASTED)
    max_scale: float = option(100.0, "largest logit scale; the smallest is 1", least=1, when=CONTRASTED)
    corruption: Corruption = option(
        "both", "what hides a test in the labs' autoencoder: value and mask, or the value", when=OWN_LABS
    )
    imputed: Imputed = option(
        "zero", "what a missing test is to the trained autoencoder: 0, or the mean", when=WITH_LABS
    )
    augment: bool = option(True, "crop, affine, jitter, blur, erasing; nothing is mirrored")

    def teachers(self) -> Teachers:
        """Who teaches, as the corpus wants it."""
        ecg, labs = (Path(path).expanduser() if path else None for path in (self.ecg, self.labs))
        return Teachers(ecg, labs, self.corruption, self.imputed)


# fixed: the paper's alpha and norms; the code's heads, augmentation and corruption of labs, without which a hidden test
# looks like the lowest percentile; missing labs are 0 in training and after it; MAE's own eps of layer norms. official:
# alpha 16; a name test that finds the final norm alone; another eps than the MAE was trained with; missing labs filled
# in after training only.
VARIANTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"heads": "linear", "corruption": "values", "augment": False},
    "official": {"alpha": 16.0, "norms": "final", "norm_eps": 1e-5, "imputed": "mean"},
}


def check(options: PaCXOptions) -> None:
    """Some loss has a weight, and the files are there. Raises UserError."""
    if options.contrastive + options.regression == 0:
        raise UserError("PaCX-MAE: contrastive and regression are both 0: nothing would be learnt")
    for name in ("ecg", "labs"):
        path = getattr(options, name)
        if path and not Path(path).expanduser().is_file():
            raise UserError(f"PaCX-MAE: {name}={path} is no file: pass the path of its weights")


OPTIONS = OptionSet("PaCX-MAE", PaCXOptions, VARIANTS, check)
