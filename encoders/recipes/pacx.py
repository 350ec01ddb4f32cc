"""Stage 2 of PaCX-MAE. The paper is silent on how it is optimized; the code's command line is what ran."""

from dataclasses import replace

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

CODE, MODULE, DATA = "PACX-MAE:Stage2_PACX.py", "PACX-MAE:Modules/pacx_lit.py", "PACX-MAE:Data/data_modules.py"
APPENDIX = "PaCX-MAE A.1.2"
DAE, MODELS = "PACX-MAE:Models/labs_dae.py", "PACX-MAE:Models/models.py"
ECG = "PACX-MAE:Data/ecg_features_extraction.ipynb"
BICUBIC = f"ours: finer detail than torchvision's bilinear keeps, which {DATA} has"
NEAREST = f"ours: smooth; {DATA} has torchvision's, the nearest pixel"
FLOOR = f"{MODULE}; a floor under the cosine there, its end here"
BEST = f"ours: the last, which {CODE} keeps, too, but goes on from the least total validation loss, of a learnt scale"

FIXED = PretrainingRecipe(
    epochs=50, batch_size=128, lr=1e-4, final_lr=0.01, warmup=0.1, betas=(0.9, 0.999),
    sources=cited({
        "ours: what a small machine trains; it is that of the MAE": "arch",
        CODE: "batch_size epochs lr weight_decay clip",
        f"{CODE} has none": "accumulate",
        f"{CODE} does not scale it": "lr_rule",
        MODULE: "start_lr horizon dropout heads head_dropout augment head_std least_scale lora_layers",
        FLOOR: "final_lr",
        f"{MODULE}: 5 of 50 epochs": "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        "ours: biases, norms and the logit scale are no matrices": "decayed",
        "ours: bf16 where it is native": "precision",
        BEST: "selection",
        "ours: where no weights are given; PaCX-MAE §3 has ECGFounder": "ecg",
        "PaCX-MAE A.1.1: the autoencoder of stage 1b": "labs",
        BICUBIC: "crop_filter",
        NEAREST: "affine_filter",
        APPENDIX: "modalities contrastive regression rank alpha norms projection smoothing initial_scale",
        "PACX-MAE:Modules/mae_lit.py: the MAE's own": "norm_eps",
        f"{MODULE}: CLIP's bound": "max_scale",
        DAE: "corruption",
        "ours: what the autoencoder saw in training": "imputed",
        f"{MODULE}: torch's": "head_norm_eps",
        MODELS: "mlp_ratio position_base",
        f"{MODELS} has none": "drop_rates",
        f"{DATA}, RobustTrainTransforms": "crop_area crop_ratio affine_chance rotation shift zoom jitter_chance "
        "jitter_strength blur_chance blur_kernel blur_sigma erase_chance erased_area erased_ratio",
        "PaCX-MAE A.1.1": "labs_hidden labs_inside labs_width labs_epochs labs_batch labs_lr labs_weight_decay "
        "labs_warmup_steps",
        "ours: a few hundred studies take more epochs": "labs_least_steps",
        f"{ECG}, as ECGFounder's authors ask for": "ecg_rate ecg_notch ecg_band ecg_order ecg_baseline",
        "ours: a small Net1D for phantom data": "ecg_filters ecg_blocks ecg_group",
        f"{ECG}, Net1D": "ecg_kernel",
        "ours: a minute for a few hundred recordings": "ecg_steps ecg_batch ecg_crop ecg_lr ecg_warmup_steps",
        "ours: torch.optim.AdamW's": "ecg_weight_decay",
        "ours: kinds of measurements count alike, and missed beats little": "ecg_groups ecg_largest",
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
        "ours: where no weights are given; PaCX-MAE §3 has ECGFounder": "ecg",
    }),
)  # fmt: skip
OFFICIAL = replace(
    FIXED, arch="base", decayed="all",
    sources=cited({
        f"{MODULE}: MAECXREncoder, ViT-B/16, 224 px": "arch",
        CODE: "batch_size epochs lr weight_decay clip",
        f"{CODE} has none": "accumulate",
        f"{CODE} does not scale it": "lr_rule",
        MODULE: "start_lr horizon alpha rank projection smoothing initial_scale",
        f"ours: where no weights are given; {ECG} has ECGFounder": "ecg",
        f"{DAE}: stage 1b": "labs",
        BICUBIC: "crop_filter",
        NEAREST: "affine_filter",
        f"{CODE}, --clip_weight, --regression_weight": "contrastive regression",
        f"{CODE}, --ablate_mode": "modalities",
        DAE: "labs_hidden labs_inside labs_width labs_epochs labs_batch labs_lr labs_weight_decay labs_warmup_steps",
        FLOOR: "final_lr",
        f"{MODULE}: 5 of 50 epochs": "warmup",
        "torch.optim.AdamW": "betas eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        f"{MODULE}: all that is trained, the logit scale too": "decayed",
        f"{CODE} has fp16, here bf16 where it is native": "precision",
        BEST: "selection",
        f"{MODULE}: the test of names finds the last alone": "norms",
        MODELS: "norm_eps",
        "PACX-MAE:Data/labs_features_extraction.ipynb": "imputed",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
