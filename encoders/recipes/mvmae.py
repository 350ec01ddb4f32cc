"""MVMAE and MVMAE-V2T. The released config_base.yaml runs 2 epochs of 1,000 studies: the dataclasses have the rest."""

from dataclasses import replace

from cxrbench.data.subsets.selection import Selection
from cxrbench.encoders.pretraining.recipe import ChosenImages, PretrainingRecipe, cited

YAML, CLASSES, MODULE = "MVMAE:config/config_base.yaml", "MVMAE:config/MyMVWSLConfig.py", "MVMAE:mm_maes/mm_mae.py"
MODEL, TEXT = "MVMAE:networks/NetworksMAE.py", "MVMAE:networks/NetworksText.py"
V2T_YAML, LOSS = "MVMAE:config/config_v2t.yaml", "MVMAE:mm_maes/mm_mae_mmvm.py"
TRANSFORM, DATA = "MVMAE:config/data/TransformConfig.py", "MVMAE:datasets/MimicCXRDataset.py"
NETWORKS = "MVMAE:config/networks/ConfigMAENetworks.py"
EPOCHS = f"{CLASSES}; {YAML}, a trial, has 2"
WARMUP = f"{CLASSES}: 50 of 500 epochs ({YAML}, a trial, has 5); here by step, there by epoch"
BEST = "ours: the last, which MVMAE:utils/generic.py keeps, too, beside that of the largest validation loss (mode max)"
UTILS, BETA = "MVMAE:config/model/UtilsConfig.py", "MVMAE:mm_maes/utils.py"

PADCHEST = Selection(split={"train": 97.0, "val": 1.5, "test": 1.5}, shares_of="studies", seed=100)
NIH = Selection(split={"train": 98.0, "val": 2.0}, seed=100)
IMAGES = {
    "padchest": ChosenImages(PADCHEST, "MVMAE §3: 97/1.5/1.5 of the studies"),
    "nih": ChosenImages(NIH, "MVMAE §3: 98/2 of training and validation"),
}

FIXED = PretrainingRecipe(
    epochs=500, batch_size=64, lr=1.2e-4 * 64 / 256, start_lr=0.5, warmup=0.1, betas=(0.9, 0.999),
    sources=cited({
        "ours: what a small machine trains; --arch takes the paper's base": "arch",
        YAML: "batch_size weight_decay clip beta",
        f"{MODULE} has none": "accumulate",
        EPOCHS: "epochs",
        f"{YAML}: 1.2e-4 · 64 / 256": "lr",
        "ours: told for the batch above": "lr_rule",
        MODULE: "start_lr final_lr horizon",
        WARMUP: "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        "ours: biases, norms and tokens are no matrices": "decayed",
        "ours: bf16 where it is native": "precision",
        BEST: "selection",
        "MVMAE §5.2": "mask",
        f"{LOSS}; eq. 1 pairs tokens of other places": "align",
        "MVMAE:config/data/ConfigMimic.py": "max_views",
        NETWORKS: "decoder_depth",
        f"MVMAE §5.2; {TRANSFORM}": "augment",
        "ours: laterality is kept": "flip",
        "ours: β's midpoint is in the middle": "late_midpoint",
        "ours: a missing view is no zero": "all_slots",
        "ours: what was hidden, not what was asked": "nominal_ratio",
        "ours: floating point": "floor_slack",
        TRANSFORM: "mean std",
        "ours: the centre of a portrait image lacks the costophrenic angles": "centre_crop",
        f"{UTILS}: that of the learning rate, 50 of 500 epochs": "beta_warmup",
        f"{UTILS}: .02 per epoch, of 500": "beta_steepness",
        f"{BETA}: half way from warm-up to the end": "beta_middle",
        f"{NETWORKS}: as the encoder's": "decoder_width decoder_heads",
        f"{NETWORKS}, {MODEL}": "mlp_ratio",
        f"{MODEL} has none": "drop_rates",
        MODEL: "block_norm_eps token_std",
        "ours: MAE's, as all backbones here": "initialisation matrix_start",
        f"{TRANSFORM}, resize_crop": "crop_area crop_ratio",
        f"{DATA}: torchvision's": "flip_chance",
        f"{TRANSFORM}, jitter; saturation and hue do nothing to gray images": "jitter_strength",
        f"{DATA}: p .8": "jitter_chance",
        f"ours: finer detail than {TRANSFORM}'s bilinear keeps": "crop_filter",
    }),
)  # fmt: skip
PAPER = replace(
    FIXED, arch="base", lr=1.2e-4, lr_rule="per-256", decayed="all", precision="32", data=IMAGES,
    sources=cited({
        "MVMAE §5.2: ViT-B/16; §3: 224 px": "arch",
        f"not stated; {YAML}": "batch_size lr weight_decay clip",
        f"not stated; {MODULE} has none": "accumulate",
        f"not stated; {EPOCHS}": "epochs",
        f"not stated; {MODULE}": "lr_rule start_lr final_lr horizon",
        f"not stated; {WARMUP}": "warmup",
        "not stated; torch.optim.AdamW": "betas eps",
        f"not stated; {MODULE}: nothing moves it": "final_weight_decay",
        f"not stated; {MODULE}: all parameters": "decayed",
        "not stated; MVMAE:main_mm_mae.py sets none": "precision",
        f"not stated; {BEST}": "selection",
        "MVMAE §4.1, eq. 1": "align nominal_ratio",
        f"not stated; ours: finer detail than {TRANSFORM}'s bilinear keeps": "crop_filter",
        f"not stated; {MODEL} leaves matrices as timm and torch make them": "initialisation matrix_start",
        "MVMAE §5.2": "augment flip",
        "MVMAE §3": "mean std centre_crop",
    }),
)  # fmt: skip
OFFICIAL = replace(
    PAPER, sources=cited({
        f"{NETWORKS}, vit_base_encoder_module; 224 px": "arch",
        YAML: "batch_size lr weight_decay clip mask",
        f"{MODULE} has none": "accumulate",
        EPOCHS: "epochs",
        MODULE: "lr_rule start_lr final_lr horizon",
        WARMUP: "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        f"{MODULE}: all parameters": "decayed",
        "MVMAE:main_mm_mae.py sets none": "precision",
        BEST: "selection",
        f"ours: finer detail than {TRANSFORM}'s bilinear keeps": "crop_filter",
        f"{MODEL} leaves matrices as timm and torch make them": "initialisation matrix_start",
        TRANSFORM: "flip",
        BETA: "late_midpoint",
        LOSS: "all_slots nominal_ratio",
        MODEL: "floor_slack",
        f"{DATA}: crops of whole files, squashed in evaluation": "centre_crop",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}


def with_text(recipe: PretrainingRecipe, texts: dict[str, str]) -> PretrainingRecipe:
    """The same recipe of MVMAE-V2T, with the sources of its own options."""
    return replace(recipe, sources={**recipe.sources, **cited(texts)})


V2T_RECIPES = {
    "fixed": with_text(FIXED, {
        "ours: the findings where a report has no impression": "text",
        TEXT: "tokenizer",
        "ours: only words that are seen can be learnt": "vocabulary",
        V2T_YAML: "text_weight text_depth text_length",
        "MVMAE:config/model/MMMAEConfig.py: as wide as the encoder": "text_width",
        "ours: else no text ever ends": "predict_end",
        "ours: words have an order": "text_positions",
        "ours: a token's position is its patch's": "text_memory",
        f"{TEXT}: [CLS]": "start_with_padding",
        "MVMAE §4.2, eq. 6": "halved",
        "MVMAE:config/model/MMMAEConfig.py, CapPaVisionToTextDecoderModule": "text_heads",
        f"{V2T_YAML}, mlp_ratio": "text_mlp_ratio",
        f"{TEXT}: torch's": "text_dropout text_norm_eps",
        "ours: as all tokens here": "word_std memory_std word_position_std",
    }),
    "paper": with_text(PAPER, {
        "MVMAE §4.2": "text start_with_padding",
        f"not stated; {V2T_YAML}: bert-base-uncased": "vocabulary",
        f"not stated; {TEXT}: torch's": "word_std",
        f"not stated; {TEXT}: zeros": "memory_std",
    }),
    "official": with_text(OFFICIAL, {
        V2T_YAML: "text vocabulary",
        f"{DATA}: the masked-word collator hides special tokens": "predict_end",
        TEXT: "text_positions text_memory",
        f"{TEXT}: torch's": "word_std",
        f"{TEXT}: zeros": "memory_std",
        LOSS: "halved",
    }),
}  # fmt: skip
