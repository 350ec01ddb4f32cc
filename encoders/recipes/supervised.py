"""The supervised baseline, trained as MVMAE's classifiers are."""

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

EVAL = "MVMAE:config/eval/MimicEvalConfig.py"

FIXED = PretrainingRecipe(epochs=100, batch_size=256, lr=1e-4, betas=(0.9, 0.999), sources=cited({
    "ours: what a small machine trains": "arch",
    "ours: that of the other methods": "batch_size",
    "ours: none is needed": "accumulate",
    f"{EVAL}, oe_n_epochs": "epochs",
    "MVMAE:config/config_base.yaml, oe_learning_rate for 256 studies": "lr",
    "ours: told for the batch above": "lr_rule",
    "ours: a twentieth of the steps, from 0; MVMAE's begins at half": "warmup start_lr",
    "MVMAE:classifiers/Classifiers.py": "final_lr horizon",
    "torch.optim.AdamW": "betas eps",
    EVAL: "weight_decay",
    "MVMAE:classifiers/Classifiers.py: nothing moves it": "final_weight_decay",
    "ours: biases and norms are no matrices": "decayed",
    "ours: a guard against single batches": "clip",
    "ours: bf16 where it is native": "precision",
    "ours: no validation label is looked at": "selection",
    "ours: every patch learns": "pooling",
    "MVMAE: plain cross entropy": "pos_weight",
    "ours: as the methods that it is compared with": "augment",
    "ours: MAE's, as all backbones here": "mlp_ratio drop_rates position_base block_norm_eps matrix_start token_std",
    "ours: small, so that no label is told at first": "head_std",
    "ours: MAE's, as stage 1a of PaCX-MAE": "crop_area",
    "ours: torchvision's": "crop_ratio flip_chance",
    "ours: finer detail than bilinear keeps": "crop_filter",
}))  # fmt: skip
RECIPES = {"fixed": FIXED}
