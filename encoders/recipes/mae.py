"""MAE, as stage 1a of PaCX-MAE trains it; what that code calls ``lr`` is absolute, not scaled with the batch."""

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

CODE, MODULE = "PACX-MAE:Stage1_MAE.py", "PACX-MAE:Modules/mae_lit.py"
MODEL, DATA = "PACX-MAE:Models/mae.py", "PACX-MAE:Data/data_modules.py"
APPENDIX = "PaCX-MAE A.1.1"
BEST = f"ours: the last, from which stage 2 begins (last.ckpt); {CODE} keeps the least validation loss, too"

FIXED = PretrainingRecipe(epochs=400, batch_size=256, lr=1.5e-4, warmup=10 / 400, sources=cited({
    "ours: what a small machine trains; --arch takes the paper's base": "arch",
    f"ours: {CODE}'s on each of two GPUs": "batch_size",
    f"{CODE} has none": "accumulate",
    APPENDIX: "epochs lr betas weight_decay final_lr ratio",
    f"{MODULE}; MAE's own rule gives the same for 256": "lr_rule",
    MODULE: "start_lr horizon",
    f"{APPENDIX}: 10 of 400 epochs": "warmup",
    "torch.optim.AdamW": "eps",
    f"{MODULE}: nothing moves it": "final_weight_decay",
    "ours: tokens are no matrices": "decayed",
    "ours: a guard against single batches": "clip",
    "ours: bf16 where it is native": "precision",
    BEST: "selection",
    f"{CODE}: pixels as they are": "norm_pix",
    f"{MODULE}: mean; eq. 1 has the sum": "error",
    "ours: floating point": "floor_slack",
    "ours: laterality is kept": "augment",
    "ours: three equal channels tell nothing": "channels",
    f"{APPENDIX}; ours, two thirds of the encoder's, where that is narrower than 768": "decoder_width decoder_depth",
    f"{APPENDIX}; ours, one for 32 channels, as there": "decoder_heads",
    MODEL: "pixel_eps mlp_ratio block_norm_eps matrix_start token_std position_base",
    f"{MODEL} has none": "drop_rates",
    f"{DATA}: RandomResizedCrop(.5 to 1)": "crop_area",
    f"{DATA}: torchvision's": "crop_ratio flip_chance",
    f"ours: as in MAE:main_pretrain.py; {DATA} has torchvision's, bilinear": "crop_filter",
}))  # fmt: skip
OF_THE_CODE = f"not stated; {CODE}: 256 on each of two GPUs"
PAPER = PretrainingRecipe(
    arch="base", batch_size=512, epochs=400, lr=1.5e-4, warmup=10 / 400, decayed="matrices+tokens", clip=0.0,
    sources=cited({
        f"{APPENDIX}: ViT-B/16, 224 px": "arch",
        OF_THE_CODE: "batch_size",
        f"not stated; {CODE} has none": "accumulate",
        APPENDIX: "epochs lr betas weight_decay final_lr",
        f"not stated; 'a base value', and {MODULE} does not scale it": "lr_rule",
        f"not stated; {MODULE}": "start_lr horizon",
        f"{APPENDIX}: 10 of 400 epochs": "warmup",
        "not stated; torch.optim.AdamW": "eps",
        f"not stated; {MODULE}: nothing moves it": "final_weight_decay",
        "not stated; PACX-MAE:Utils/utils.py": "decayed",
        f"not stated; {CODE}: gradient_clip_val=0": "clip",
        f"not stated; {CODE} has fp16, here bf16 where it is native": "precision",
        f"not stated; {BEST}": "selection",
        f"{APPENDIX}, eq. 1": "error",
        f"{APPENDIX}: 224 x 224 x 3, ImageNet's statistics": "channels",
    }),
)  # fmt: skip
OFFICIAL = PretrainingRecipe(
    arch="base", batch_size=512, epochs=400, lr=1.5e-4, warmup=10 / 400, decayed="matrices+tokens", clip=0.0,
    sources=cited({
        f"{CODE}: size base, 224 px": "arch",
        f"{CODE}: 256 on each of two GPUs": "batch_size",
        f"{CODE} has none": "accumulate",
        CODE: "epochs lr betas weight_decay",
        MODULE: "lr_rule start_lr final_lr horizon",
        f"{CODE}: 10 of 400 epochs": "warmup",
        "torch.optim.AdamW": "eps",
        f"{MODULE}: nothing moves it": "final_weight_decay",
        "PACX-MAE:Utils/utils.py": "decayed",
        f"{CODE}: gradient_clip_val=0": "clip",
        f"{CODE} has fp16, here bf16 where it is native": "precision",
        BEST: "selection",
        f"{MODULE} stores 0.9 and calls the model with its default": "ratio",
        MODEL: "floor_slack decoder_width decoder_depth decoder_heads",
        f"{DATA}: RandomResizedCrop(.5 to 1), flip": "augment",
        f"{DATA}: ImageNet's mean and deviation": "channels",
        f"ours: as in MAE:main_pretrain.py; {DATA} has torchvision's, bilinear": "crop_filter",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
