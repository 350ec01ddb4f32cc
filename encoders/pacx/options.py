"""What can be set in PaCX-MAE's stage 2, and what paper and code set differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrbench.encoders.pacx.corpus import Imputed, Modalities, Teachers
from cxrbench.encoders.pacx.labs_dae import Corruption
from cxrbench.encoders.pretraining.options import read_options
from cxrbench.errors import UserError


@dataclass(frozen=True)
class PaCXOptions:
    """Options of stage 2 and of its teachers.

    ``init``: weights of an MAE. ``ecg``, ``labs``: weights of the teachers ("": they are trained on the data).
    ``modalities``, ``contrastive``, ``regression``: the papers' ablations; the latter two are the losses' weights.
    ``rank``, ``alpha``, ``dropout``: of LoRA. ``norms``: which layer norms of the backbone are trained with it.
    ``norm_eps``: of them all. ``heads``: ``normed`` is Dropout (``head_dropout``), Linear, LayerNorm. ``projection``:
    width of what is compared. ``corruption``, ``imputed``: of the labs' autoencoder, see ``labs_dae``. ``augment``: see
    ``pacx_augment``.
    """

    variant: str = "fixed"
    init: str = ""
    ecg: str = ""
    labs: str = ""
    modalities: Modalities = "both"
    contrastive: float = 0.5
    regression: float = 1.0
    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.1
    norms: Literal["all", "final"] = "all"
    norm_eps: float = 1e-6
    heads: Literal["normed", "linear"] = "normed"
    head_dropout: float = 0.2
    projection: int = 256
    smoothing: float = 0.02
    initial_scale: float = 1 / 0.07
    max_scale: float = 100.0
    corruption: Corruption = "both"
    imputed: Imputed = "zero"
    augment: bool = True

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
OPTION_HELP = {
    "variant": f"where paper and code differ: {', '.join(VARIANTS)}",
    "init": "weights of the MAE to begin from [default on phantom data: the shipped ones]",
    "ecg": "weights of the ECG teacher, e.g. 12_lead_ECGFounder.pth [default: a small one is trained on the data]",
    "labs": "weights of the labs' autoencoder [default: trained on the data]",
    "modalities": "both, ecg or labs",
    "contrastive": "weight of the contrastive loss",
    "regression": "weight of the regression loss",
    "rank": "rank of LoRA",
    "alpha": "alpha of LoRA",
    "norms": "layer norms that are trained, too: all or final",
    "heads": "normed (Dropout, Linear, LayerNorm) or linear",
    "smoothing": "label smoothing of the contrast, in [0, 1)",
    "augment": "true: crop, affine, jitter, blur, erasing; nothing is mirrored",
}


def parse_options(given: Mapping[str, Any]) -> PaCXOptions:
    """Options by name, numbers or text as typed by a user; those of the variant where not given. Raises UserError."""
    options = read_options(PaCXOptions, given, method="PaCX-MAE", help_lines=OPTION_HELP, variants=VARIANTS)
    if options.rank < 1 or options.alpha <= 0 or not 0 <= options.smoothing < 1:
        raise UserError("PaCX-MAE needs rank >= 1, alpha > 0 and 0 <= smoothing < 1: correct the option")
    if min(options.contrastive, options.regression) < 0 or options.contrastive + options.regression == 0:
        raise UserError("PaCX-MAE needs contrastive and regression >= 0, not both 0: correct the option")
    for name in ("init", "ecg", "labs"):
        path = getattr(options, name)
        if path and not Path(path).expanduser().is_file():
            raise UserError(f"PaCX-MAE: {name}={path} is no file: pass the path of its weights")
    return options
