"""RadJEPA. Its authors state no number of the training and say "the I-JEPA protocol": I-JEPA's, for ViT-H."""

from dataclasses import replace

from cxrbench.data.subsets.selection import Selection
from cxrbench.encoders.pretraining.recipe import ChosenImages, PretrainingRecipe, cited

YAML, HELPER = "ijepa:configs/in1k_vith14_ep300.yaml", "ijepa:src/helper.py"
MODEL = "ijepa:src/models/vision_transformer.py"
SCHEDULES, TRAIN, MASKS = "ijepa:src/utils/schedulers.py", "ijepa:src/train.py", "ijepa:src/masks/multiblock.py"

BICUBIC = "ours: finer detail than torchvision's bilinear keeps, which ijepa:src/transforms.py has"

LATERALS = ChosenImages(Selection(views=("PA", "AP", "L"), laterals=90_000), "RadJEPA Table 1, §4: 90,000 laterals")

FIXED = PretrainingRecipe(
    epochs=300, batch_size=2048, processes=16, lr=1e-3, start_lr=0.2, final_lr=1e-3, weight_decay=0.04,
    final_weight_decay=0.4, warmup=40 / 300, betas=(0.9, 0.999),
    sources=cited({
        "ours: what a small machine trains; --arch takes the paper's base": "arch",
        f"{YAML}: 128 on each of 16 GPUs": "batch_size",
        YAML: "epochs lr weight_decay final_weight_decay momentum final_momentum",
        f"{YAML} does not scale it": "lr_rule",
        f"{YAML}: 2e-4 of 1e-3": "start_lr",
        f"{YAML}: 1e-6 of 1e-3": "final_lr",
        f"{YAML}: 40 of 300 epochs": "warmup",
        f"{YAML}, ipe_scale": "horizon",
        "torch.optim.AdamW": "betas eps",
        "ours: tokens are no matrices": "decayed",
        "ours: a guard against single batches": "clip",
        "ours: bf16 where it is native": "precision",
        f"{TRAIN} keeps the last epoch; so do we": "selection",
        "ours: blocks reach every patch": "masks",
        "ours: W processes of B images are one of W B": "context_length",
        "ours: MAE's, as all backbones here": "initialisation",
        TRAIN: "loss normalise_targets",
        "RadJEPA §3.1: no augmentation": "augment",
        f"{TRAIN} has none": "accumulate variance",
        f"{HELPER}: 6 where ViT-B has 12; {YAML} has 12 where ViT-H has 32": "predictor_depth",
        "Assran et al. 2023: the target encoder is evaluated": "keep",
        "ours: three equal channels tell nothing": "channels",
        f"{YAML}, mask": "block_targets target_scale target_aspect context_scale",
        f"{YAML}: 10 of 256 patches; ours, the same share of others": "min_keep",
        f"{MASKS}: timeout": "tries",
        f"{YAML}, pred_emb_dim; ours, 32 for each head, where the encoder is narrower than 768": "predictor_width",
        f"{HELPER}: the encoder's": "predictor_heads",
        f"{TRAIN}: torch's": "smooth_beta target_eps",
        MODEL: "start_std mlp_ratio position_base block_norm_eps token_std",
        f"{MODEL} has none": "drop_rates",
        "ours: MAE's": "matrix_start",
        "Bardes et al. 2022 §4.1": "variance_target variance_eps",
        f"{YAML}, crop_scale": "crop_area",
        "ijepa:src/transforms.py: torchvision's": "crop_ratio",
        BICUBIC: "crop_filter",
    }),
)  # fmt: skip
PAPER = replace(
    FIXED, arch="base", decayed="matrices+tokens", clip=0.0, precision="bf16", data={"mimic": LATERALS},
    sources=cited({
        "RadJEPA Table 2: ViT-B/14, 224 px": "arch",
        f"not stated; {YAML}: 128 on each of 16 GPUs": "batch_size",
        f"not stated; {TRAIN} has none": "accumulate",
        f"not stated; {YAML}": "epochs lr weight_decay final_weight_decay precision",
        f"not stated; {YAML} does not scale it": "lr_rule",
        f"not stated; {YAML}: 2e-4 of 1e-3": "start_lr",
        f"not stated; {YAML}: 1e-6 of 1e-3": "final_lr",
        f"not stated; {YAML}: 40 of 300 epochs": "warmup",
        f"not stated; {YAML}, ipe_scale": "horizon",
        "not stated; torch.optim.AdamW": "betas eps",
        f"not stated; {HELPER}: all but biases and what has one dimension": "decayed",
        f"not stated; {TRAIN} does not cut": "clip",
        f"not stated; {TRAIN} keeps the last epoch; so do we": "selection",
        f"not stated; {MASKS}: each process's batch": "context_length",
        f"not stated; {MODEL}, _init_weights, fix_init_weight": "initialisation",
        "RadJEPA §3.1": "loss normalise_targets",
        "RadJEPA §4; ijepa:src/transforms.py": "channels",
    }),
)  # fmt: skip
OFFICIAL = replace(
    PAPER, sources=cited({
        f"RadJEPA's published weights, ViT-B/14, 224 px; {YAML} has ViT-H/14": "arch",
        f"{YAML}: 128 on each of 16 GPUs": "batch_size",
        f"{TRAIN} has none": "accumulate",
        YAML: "epochs lr weight_decay final_weight_decay precision",
        f"{YAML} does not scale it": "lr_rule",
        f"{YAML}: 2e-4 of 1e-3": "start_lr",
        f"{YAML}: 1e-6 of 1e-3": "final_lr",
        f"{YAML}: 40 of 300 epochs": "warmup",
        f"{YAML}, ipe_scale": "horizon",
        "torch.optim.AdamW": "betas eps",
        f"{HELPER}: all but biases and what has one dimension": "decayed",
        f"{TRAIN} does not cut": "clip",
        f"{TRAIN} keeps the last epoch; so do we": "selection",
        MASKS: "masks",
        f"{MASKS}: each process's batch": "context_length",
        f"{HELPER}: init_model draws Linear again, undivided": "initialisation",
        "ijepa:src/transforms.py: RandomResizedCrop(.3 to 1)": "augment",
        "ijepa:src/transforms.py": "channels",
        BICUBIC: "crop_filter",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
