"""FaNe. Its code's cosine is one of 100 epochs, 40 of them warm-up, of which it runs 50."""

from dataclasses import replace

from cxrbench.encoders.pretraining.recipe import PretrainingRecipe, cited

MODEL, TRAINER = "FaNe:codes/fane/models/fane.py", "FaNe:configs/base_trainer.yaml"
EXPERIMENT = "FaNe:configs/experiments/pre_train/train_fane.yaml"
POOL = "FaNe:codes/fane/modules/sentence_pool.py"
SETUP = "FaNe §4.1"
DATASET = "FaNe:codes/fane/data/pretrain/mimiccxr.py"
TRANSFORMS = "FaNe:configs/image_transformation.yaml"
NEAREST = f"ours: smooth; {TRANSFORMS} has torchvision's, the nearest pixel"
BOTH = f"{SETUP}: 98 on each of two GPUs"
CALLBACKS = "FaNe:configs/callbacks/"
BEST = (
    f"ours: the last, which {CALLBACKS}model_checkpoint.yaml keeps, too (save_last), beside that of the least training "
    "loss, whose scale moves with bias and positives; early_stopping.yaml ends a run without a lower one for 10 epochs"
)

FIXED = PretrainingRecipe(
    epochs=50, batch_size=196, processes=2, lr=4e-4, weight_decay=1e-6, warmup=0.05, betas=(0.9, 0.999),
    sources=cited({
        "ours: what a small machine trains; --arch takes base and resnet50": "arch",
        BOTH: "batch_size",
        f"{TRAINER} has none": "accumulate",
        SETUP: "epochs lr final_lr dim mp tc spa",
        f"{MODEL} does not scale it": "lr_rule",
        "ours: from 0 in a twentieth of the steps": "start_lr warmup",
        "ours: the cosine ends with the run": "horizon",
        f"ours: the BERT's, pooled before it is projected; {MODEL} pools 128 channels": "pool_width",
        "torch.optim.AdamW": "eps",
        f"{MODEL}: nothing moves it": "final_weight_decay",
        "ours: biases, norms and scalars are no matrices": "decayed",
        "ours: a guard against single batches": "clip",
        "ours: bf16 where it is native": "precision",
        BEST: "selection",
        "FaNe A.2: BioClinicalBERT": "text train_text",
        "FaNe A.2: self-attention": "sentence_pool",
        "FaNe §3.1, A.2: a pool, then four projections": "text_head",
        "FaNe §3.1": "kappa alpha",
        "FaNe §3.1, eq. 4 and 5": "similarity",
        "FaNe §3.1, eq. 3 as meant": "ema",
        "FaNe §3.2: τ₁ alone": "scale learn_scale",
        "SigLIP's sign; eq. 6 prints the other": "bias",
        f"FaNe §3.2; {MODEL}": "initial_bias learn_bias",
        f"{MODEL} has one rate for all": "fast",
        "ours: CLIP's pools start as CLIP's do": "initialisation pool_start",
        "ours: a projection begins without a bias": "projection_bias",
        "ours: a masked patch has no weight": "mask_mode",
        "Robinson et al. 2021, in the place of eq. 16": "hard_negatives",
        "ours: in the place of eq. 16 stands a larger loss; docs/pretraining-on-the-phantom.md": "hn",
        "FaNe §3.3": "average",
        "ours: W processes of B are to learn what one of W B does": "gather",
        "ours: laterality is kept": "augment",
        "ours: three equal channels tell nothing to a ViT": "odd_mean",
        "ours: sin-cos, as all plain ViTs here": "learn_positions",
        f"{SETUP}, A.1": "min_sentences",
        f"{SETUP}: τ₁, τ₂, τ₃": "tau1 tau2 tau3",
        "FaNe:codes/fane/utils/semantic_similarity.py": "division_eps",
        "ours: eq. 16 divides by a sum that can be 0": "least_sum",
        "FaNe A.1": "text_longest",
        "ours: .1 of Bio_ClinicalBERT, as it comes": "text_dropout",
        POOL: "pool_heads",
        "FaNe:codes/fane/modules/gather.py": "pool_narrowed",
        MODEL: "betas weight_decay projection_std",
        "FaNe:codes/fane/modules/sparse_local_attention.py: torch's": "mask_norm_eps",
        "FaNe:codes/fane/encoders/image/resnet_encoder.py: 299 of 224 pixels": "enlarged",
        "ours: torch's, as torchvision's": "batch_norm_eps batch_norm_momentum",
        "FaNe:codes/fane/encoders/image/vits.py": "mlp_ratio block_norm_eps token_std",
        "FaNe:codes/fane/encoders/image/vits.py has none": "drop_rates",
        "ours: MAE's, as all plain ViTs here": "matrix_start position_base",
        f"{TRANSFORMS}: random_affine": "rotation",
        NEAREST: "affine_filter",
        f"{TRANSFORMS}: random_horizontal_flip": "flip_chance",
    }),
)  # fmt: skip
PAPER = replace(
    FIXED, arch="resnet50", warmup=0.0, decayed="all", clip=0.0,
    sources=cited({
        f"{SETUP}: ResNet-50, 224 px": "arch",
        BOTH: "batch_size",
        f"not stated; {TRAINER} has none": "accumulate",
        SETUP: "epochs lr hn",
        f"not stated; {MODEL} does not scale it": "lr_rule",
        f"{SETUP}: a cosine, and no warm-up is stated": "start_lr final_lr warmup horizon",
        f"not stated; {MODEL}": "betas weight_decay",
        "not stated; torch.optim.AdamW": "eps",
        f"not stated; {MODEL}: nothing moves it": "final_weight_decay",
        f"not stated; {MODEL}: all parameters": "decayed",
        f"not stated; {TRAINER} does not cut": "clip",
        f"not stated; {TRAINER} has fp16, here bf16 where it is native": "precision",
        f"not stated; {BEST}": "selection",
        f"not stated; {POOL} leaves it as torch makes it": "initialisation pool_start",
        f"not stated; {MODEL} leaves it as torch makes it": "projection_bias",
        "FaNe eq. 3": "ema",
        "FaNe eq. 6": "bias",
        "FaNe eq. 8": "mask_mode",
        "FaNe eq. 16": "hard_negatives",
        "FaNe A.1": "odd_mean",
    }),
)  # fmt: skip
OFFICIAL = replace(
    FIXED, arch="base", start_lr=1e-8 / 4e-4, final_lr=1e-8 / 4e-4, horizon=2.0, warmup=0.4, decayed="all", clip=0.0,
    sources=cited({
        f"{EXPERIMENT}: vit_base, 224 px": "arch",
        f"{EXPERIMENT}: 98 on each of two GPUs": "batch_size",
        f"{TRAINER} has none": "accumulate",
        TRAINER: "epochs",
        MODEL: "lr betas weight_decay learn_scale hard_negatives average gather "
        "dim mp tc hn spa initial_bias learn_bias tau1 tau2 tau3",
        f"{MODEL} does not scale it": "lr_rule",
        f"{MODEL}: 1e-8 of 4e-4": "start_lr final_lr",
        f"{MODEL}: .4 of a schedule of 100 epochs": "warmup",
        f"{MODEL}: a schedule of 100 epochs, of which {TRAINER} runs 50": "horizon",
        "torch.optim.AdamW": "eps",
        f"{MODEL}: nothing moves it": "final_weight_decay",
        f"{MODEL}: all parameters": "decayed",
        f"{TRAINER} does not cut": "clip",
        f"{TRAINER} has fp16, here bf16 where it is native": "precision",
        BEST: "selection",
        f"{MODEL}: softplus(-s τ + β)": "bias",
        f"{MODEL}: log(1 / .07), not exponentiated": "scale",
        "FaNe:configs/pretrain_model/prior.yaml, gahter_pool: avg": "sentence_pool",
        f"{MODEL}, encode_text": "text_head",
        NEAREST: "affine_filter",
        f"{POOL} leaves it as torch makes it": "initialisation pool_start",
        f"{MODEL} leaves it as torch makes it": "projection_bias",
        "FaNe:codes/fane/encoders/language/bert.py: Bio_ClinicalBERT's, .1": "text_dropout",
        "ours: MAE's, where no weights are given: DeiT's replace the code's N(0, .02²)": "matrix_start",
        f"{MODEL}, tool_bert; FaNe:configs/text_encoder/clinical_bert.yaml": "text",
        "FaNe:configs/pretrain_model/prior.yaml, frozen_text_encoder: false": "train_text",
        f"{MODEL}, threshold": "kappa",
        "FaNe:codes/fane/utils/semantic_similarity.py": "similarity alpha ema",
        DATASET: "odd_mean min_sentences text_longest",
        "FaNe:codes/fane/modules/sparse_local_attention.py": "mask_mode",
        f"{EXPERIMENT}: random_affine, random_horizontal_flip": "augment",
        "FaNe:codes/fane/encoders/image/vits.py": "learn_positions",
    }),
)  # fmt: skip
RECIPES = {"fixed": FIXED, "paper": PAPER, "official": OFFICIAL}
