"""S-PCL. Its own code is not to be had: ``official`` is OCL, from which it descends."""

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

OCL, RATES = "OCL:main_pretrain.py", "OCL:util/lr_sched.py"
LAST = f"{OCL} keeps the last epoch; so do we"

FIXED = PretrainingRecipe(sources=cited({
    "ours: what a small machine trains; --arch takes the paper's base": "arch",
    "ours: enough negatives for small datasets": "batch_size",
    "ours: more negatives do not come of it": "accumulate",
    OCL: "epochs betas weight_decay",
    RATES: "start_lr final_lr horizon",
    f"{OCL}: 10 of 200 epochs": "warmup",
    "ours: ten times what OCL's rule gives for 256 images, which the phantom's small encoders want": "lr",
    "ours: told for the batch above": "lr_rule",
    "torch.optim.AdamW": "eps",
    "ours: nothing moves it": "final_weight_decay",
    "ours: tokens are no matrices": "decayed",
    "ours: a guard against single batches": "clip",
    "ours: bf16 where it is native": "precision",
    LAST: "selection",
    "S-PCL §2.2": "ratio",
    "OCL:models_mae.py; S-PCL eq. 1 gives none": "kappa",
    "S-PCL eq. 2": "loss",
    "OCL:models_mae.py, 1 / 0.07; S-PCL gives none": "initial_scale",
    "S-PCL §2.3": "learn_scale",
    "ours: CLIP's bound": "max_scale",
    "ours: W processes of B are to learn what one of W B does": "gather",
    "ours: floating point": "floor_slack",
    "S-PCL §2.1: no hand-crafted augmentation": "augment",
    "ours: S-PCL states neither channels nor mean": "channels",
    "OCL:models_mae.py": "mlp_ratio block_norm_eps matrix_start token_std",
    "OCL:models_mae.py has none": "drop_rates",
    "OCL:util/pos_embed.py": "position_base",
    f"{OCL}: RandomResizedCrop(.2 to 1)": "crop_area",
    f"{OCL}: torchvision's": "crop_ratio flip_chance",
    f"{OCL}: interpolation=3": "crop_filter",
}))  # fmt: skip
PAPER = PretrainingRecipe(
    arch="base-512", batch_size=600, accumulate=2, lr=5e-5, lr_rule="per-256", decayed="matrices+tokens", clip=0.0,
    sources=cited({
        "S-PCL §3.1": "arch batch_size accumulate ratio",
        f"not stated; {OCL}": "epochs lr lr_rule betas weight_decay final_weight_decay",
        f"not stated; {RATES}": "start_lr final_lr horizon",
        f"not stated; {OCL}: 10 of 200 epochs": "warmup",
        "not stated; torch.optim.AdamW": "eps",
        "not stated; OCL:main_pretrain.py, timm's add_weight_decay": "decayed",
        "not stated; OCL:engine_pretrain.py does not cut": "clip",
        "not stated; OCL:engine_pretrain.py has fp16, here bf16 where it is native": "precision",
        f"not stated; {LAST}": "selection",
        "S-PCL §2.3: no bound is stated": "max_scale",
    }),
)  # fmt: skip
OFFICIAL = PretrainingRecipe(
    arch="large", batch_size=1800, lr=5e-5, lr_rule="per-256", decayed="matrices+tokens", clip=0.0,
    sources=cited({
        f"{OCL}: sae_vit_large_patch16": "arch",
        f"{OCL}, per GPU": "batch_size",
        OCL: "accumulate epochs lr lr_rule betas weight_decay ratio",
        RATES: "start_lr final_lr horizon",
        f"{OCL}: 10 of 200 epochs": "warmup",
        "torch.optim.AdamW": "eps",
        f"{OCL}: nothing moves it": "final_weight_decay",
        f"{OCL}: timm's add_weight_decay": "decayed",
        "OCL:engine_pretrain.py does not cut": "clip",
        "OCL:engine_pretrain.py has fp16, here bf16 where it is native": "precision",
        LAST: "selection",
        "OCL:models_mae.py": "loss learn_scale gather floor_slack",
        f"{OCL}: RandomResizedCrop(.2 to 1), flip": "augment",
        f"{OCL}: in_chans 3, ImageNet's mean and deviation": "channels",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
