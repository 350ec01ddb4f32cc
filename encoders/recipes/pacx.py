"""Stage 2 of PaCX-MAE. The paper is silent on how it is optimized; the code's command line is what ran."""

from dataclasses import replace

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

CODE, MODULE, DATA = "PACX-MAE:Stage2_PACX.py", "PACX-MAE:Modules/pacx_lit.py", "PACX-MAE:Data/data_modules.py"
APPENDIX = "PaCX-MAE A.1.2"
DAE = "PACX-MAE:Models/labs_dae.py"
FLOOR = f"{MODULE}; a floor under the cosine there, its end here"
BEST = f"ours: the last; {CODE} keeps the best total validation loss"

FIXED = PretrainingRecipe(
    epochs=50, batch_size=128, lr=1e-4, final_lr=0.01, warmup=0.1, betas=(0.9, 0.999),
    sources=cited({
        "ours: what a small machine trains; it is that of the MAE": "arch",
        CODE: "batch_size epochs lr weight_decay clip",
        f"{CODE} has none": "accumulate",
        f"{CODE} does not scale it": "lr_rule",
        MODULE: "start_lr horizon dropout heads head_dropout augment",
        FLOOR: "final_lr",
        f"{MODULE}: 5 of 50 epochs": "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        "ours: biases, norms and the logit scale are no matrices": "decayed",
        "ours: bf16 where it is native": "precision",
        BEST: "selection",
        "PaCX-MAE §3: ECGFounder": "ecg",
        "PaCX-MAE A.1.1: the labs' autoencoder": "labs",
        APPENDIX: "modalities contrastive regression rank alpha norms projection smoothing initial_scale",
        "PACX-MAE:Modules/mae_lit.py: the MAE's own": "norm_eps",
        f"{MODULE}: CLIP's bound": "max_scale",
        DAE: "corruption",
        "ours: what the autoencoder saw in training": "imputed",
    }),
)  # fmt: skip
PAPER = replace(
    FIXED, arch="base", decayed="all",
    sources=cited({
        "PaCX-MAE A.1.1: ViT-B/16, 224 px": "arch",
        f"not stated; {CODE}": "batch_size epochs lr weight_decay clip",
        f"not stated; {CODE} has none": "accumulate",
        f"not stated; {CODE} does not scale it": "lr_rule",
        f"not stated; {MODULE}": "start_lr horizon",
        f"not stated; {FLOOR}": "final_lr",
        f"not stated; {MODULE}: 5 of 50 epochs": "warmup",
        "not stated; torch.optim.AdamW": "betas eps",
        f"not stated; {MODULE}: nothing moves it": "final_weight_decay",
        f"not stated; {MODULE}: all that is trained, the logit scale too": "decayed",
        f"not stated; {CODE} has fp16, here bf16 where it is native": "precision",
        f"not stated; {BEST}": "selection",
        f"{APPENDIX}: linear": "heads",
        "PaCX-MAE A.1.1: values are hidden": "corruption",
        f"{APPENDIX} lists none": "augment",
    }),
)  # fmt: skip
OFFICIAL = replace(
    FIXED, arch="base", decayed="all",
    sources=cited({
        f"{MODULE}: MAECXREncoder, ViT-B/16, 224 px": "arch",
        CODE: "batch_size epochs lr weight_decay clip",
        f"{CODE} has none": "accumulate",
        f"{CODE} does not scale it": "lr_rule",
        MODULE: "start_lr horizon alpha",
        FLOOR: "final_lr",
        f"{MODULE}: 5 of 50 epochs": "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        f"{MODULE}: all that is trained, the logit scale too": "decayed",
        f"{CODE} has fp16, here bf16 where it is native": "precision",
        BEST: "selection",
        f"{MODULE}: the test of names finds the last alone": "norms",
        "PACX-MAE:Models/models.py": "norm_eps",
        "PACX-MAE:Data/labs_features_extraction.ipynb": "imputed",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
