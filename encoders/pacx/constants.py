"""The numbers of PaCX-MAE's stage 2 and of its teachers that no option sets."""

from collections.abc import Mapping

from cxrbench.encoders.backbones.vit import DROPPED, MLP_RATIO, POSITION_BASE, ViTConfig
from cxrbench.encoders.ecg import signal, teacher
from cxrbench.encoders.labs import autoencoder
from cxrbench.encoders.pacx import augment, lora
from cxrbench.encoders.pacx.corpus import Teachers
from cxrbench.encoders.pacx.options import OWN_LABS, WITH_ECG, PaCXOptions
from cxrbench.encoders.pretraining.augment import MOVED, crop_constants
from cxrbench.encoders.pretraining.constants import Constant, Constants

HEAD_STD = 0.02  # of the heads' weights at the start
HEAD_EPS = 1e-5  # of the norms behind them, torch's
LEAST_SCALE = 1.0  # of the logits
OF_BACKBONE = {"mlp_ratio": MLP_RATIO, "drop_rates": DROPPED, "position_base": POSITION_BASE}  # its start is the MAE


def constants(arch: ViTConfig, options: PaCXOptions) -> Constants:
    """What no option sets; the backbone begins from an MAE."""
    return {
        "lora_layers": Constant(lora.TARGETS),
        "head_std": Constant(HEAD_STD),
        "head_norm_eps": Constant(HEAD_EPS, options.heads == "normed"),
        "least_scale": Constant(LEAST_SCALE, options.contrastive),
        **{name: Constant(value) for name, value in OF_BACKBONE.items()},
        **of_augmentation(options.augment),
        **of_labs(OWN_LABS[1](options)),
        **of_ecg(WITH_ECG[1](options), own=WITH_ECG[1](options) and not options.ecg),
    }


def meant(arch: ViTConfig, options: PaCXOptions) -> Mapping[str, str]:
    """Who teaches where no weights are given."""
    ecg = {} if options.ecg else {"ecg": "a small one, trained on the data"}
    return ecg | ({} if options.labs else {"labs": "one trained on the data"})


def of_augmentation(read: object) -> Constants:
    """Of what an image goes through."""
    values = {
        "affine_filter": MOVED, "affine_chance": augment.AFFINE_P,
        "rotation": augment.TURN, "shift": augment.SHIFT, "zoom": augment.ZOOM,
        "jitter_chance": augment.JITTER_P, "jitter_strength": augment.JITTER,
        "blur_chance": augment.BLUR_P, "blur_kernel": augment.KERNEL, "blur_sigma": augment.SIGMA,
        "erase_chance": augment.ERASE_P, "erased_area": augment.ERASED_AREA, "erased_ratio": augment.ERASED_RATIO,
    }  # fmt: skip
    crops = crop_constants(augment.CROP_AREA, read, augment.CROP_RATIO)
    return {**crops, **{name: Constant(value, read) for name, value in values.items()}}


def of_labs(read: object) -> Constants:
    """Of the autoencoder of laboratory values, where it is trained on the data."""
    recipe = Teachers().labs_recipe
    values = {
        "labs_hidden": autoencoder.HIDDEN, "labs_inside": autoencoder.INSIDE, "labs_width": autoencoder.WIDTH,
        "labs_epochs": recipe.epochs, "labs_least_steps": recipe.steps, "labs_batch": recipe.batch,
        "labs_lr": recipe.lr, "labs_weight_decay": recipe.weight_decay, "labs_warmup_steps": recipe.warmup,
    }  # fmt: skip
    return {name: Constant(value, read) for name, value in values.items()}


def of_ecg(read: object, own: object) -> Constants:
    """Of recordings, where they teach; of the network that is trained on them, where none is given (``own``)."""
    recipe, shape = Teachers().ecg_recipe, teacher.SMALL
    given = {
        "ecg_rate": signal.RATE, "ecg_notch": (signal.MAINS, signal.QUALITY), "ecg_band": signal.BAND,
        "ecg_order": signal.ORDER, "ecg_baseline": signal.BASELINE,
    }  # fmt: skip
    trained = {
        "ecg_filters": shape.filters, "ecg_blocks": shape.blocks, "ecg_kernel": shape.kernel, "ecg_group": shape.group,
        "ecg_steps": recipe.steps, "ecg_batch": recipe.batch, "ecg_crop": recipe.crop, "ecg_lr": recipe.lr,
        "ecg_weight_decay": recipe.weight_decay, "ecg_warmup_steps": recipe.warmup, "ecg_largest": teacher.LARGEST,
        "ecg_groups": teacher.GROUPS,
    }  # fmt: skip
    return {name: Constant(value, read) for name, value in given.items()} | {
        name: Constant(value, own) for name, value in trained.items()
    }
