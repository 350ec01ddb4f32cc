"""ViTs, Swin, EVA-02 and DINOv2 in published layouts, by timm's or transformers' networks."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.models import eva, swin_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrbench.encoders.families.published.entry import PublishedEncoder
from support.published.files import EXTRA, Published, scattered, write


def plain_vit(size: int, *, class_token: bool = True) -> Any:
    """timm's ViT of two heads and four blocks."""
    return scattered(
        VisionTransformer(
            img_size=size, patch_size=32, embed_dim=128, depth=4, num_heads=2, num_classes=0, class_token=class_token,
            global_pool="token" if class_token else "avg", fc_norm=False,
        )
    )  # fmt: skip


def vit_file(entry: PublishedEncoder, folder: Path) -> Published:
    """MRM, MaCo, Medical-MAE, CARZero, MGCA: a decoder, report towers and a prefix around a plain ViT."""
    net = plain_vit(entry.preprocess.size)
    prefix = entry.options.get("prefix", "")
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    if prefix:
        state |= {
            "CARZero.text_encoder.model.embeddings.weight": torch.zeros(9, 4),
            "prototype_layer.weight": torch.zeros(2),
        }
        content: dict[str, Any] = {"state_dict": state, "epoch": 3, "hyper_parameters": {"emb_dim": 128}}
    else:
        state |= {"mask_token": torch.zeros(1, 1, 32), "decoder_embed.weight": torch.zeros(32, 128)}
        for part in entry.options.get("known_by", ()):
            state[f"{part}weight"] = torch.zeros(3, 3)
        content = {"model": state, **EXTRA}

    def expected(images: Tensor) -> Tensor:
        tokens = net.forward_features(images)
        return tokens[:, 0] if entry.options["pooling"] == "cls" else tokens[:, 1:].mean(1)

    return Published(write(folder, content), expected)


def jepa_file(entry: PublishedEncoder, folder: Path) -> Published:
    """CheXWorld: the encoder that is trained, its moving average and the predictor under ``model``."""
    net = plain_vit(entry.preprocess.size, class_token=False)
    state = {f"target_encoder.{name}": value for name, value in net.state_dict().items()}
    state |= {f"encoder.{name}": torch.zeros_like(value) for name, value in net.state_dict().items()}
    state["predictor.predictor_pos_embed"] = torch.zeros(1, 49, 64)
    return Published(write(folder, {"model": state, **EXTRA}), lambda x: net.forward_features(x).mean(1))


def swin_file(entry: PublishedEncoder, folder: Path) -> Published:
    """Ark+: student and teacher, as timm 0.5.4 called Swin's parts, with a projector and six heads."""
    net = scattered(
        swin_transformer.SwinTransformer(
            img_size=entry.preprocess.size, patch_size=4, window_size=12, embed_dim=8, depths=(1, 1, 1, 1),
            num_heads=(1, 2, 2, 4), num_classes=0,
        )
    )  # fmt: skip
    old = {}
    for name, value in net.state_dict().items():
        layer = name.split(".")[1]
        old[name.replace(f"layers.{layer}.", f"layers.{int(layer) - 1}.") if ".downsample." in name else name] = value
    old |= {"projector.weight": torch.zeros(5, 64), "projector.bias": torch.zeros(5)}
    old |= {f"omni_heads.{k}.weight": torch.zeros(n, 5) for k, n in enumerate((14, 14, 14, 3, 6, 1))}
    old |= {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(144, 144, dtype=torch.int64)}
    teacher = {f"module.{name}": value for name, value in old.items()}
    student = {name: torch.zeros_like(value) for name, value in teacher.items()}
    content = {"state_dict": student, "teacher": teacher, "lossMIN": [0.1], **EXTRA}
    return Published(write(folder, content, "ark.pth.tar"), lambda x: net.forward_head(net.forward_features(x)))


def eva_file(entry: PublishedEncoder, folder: Path) -> Published:
    """EVA-X: EVA-02's names, with the mask token and the head of its pretraining."""
    net = scattered(
        eva.Eva(
            img_size=224, patch_size=16, embed_dim=128, depth=4, num_heads=2, mlp_ratio=4 * 2 / 3, swiglu_mlp=True,
            use_rot_pos_emb=True, ref_feat_shape=(14, 14), num_classes=0,
            scale_mlp=entry.options.get("scale_mlp", False), qkv_fused=entry.options.get("qkv_fused", True),
        )
    )  # fmt: skip
    renamed = {
        "fc_norm.": "norm.", "mlp.norm": "mlp.ffn_ln", "mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2",
        "mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3", "q_proj.bias": "q_bias", "v_proj.bias": "v_bias",
    }  # fmt: skip
    state = {}
    for name, value in net.state_dict().items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        state[name] = value
    state |= {
        "mask_token": torch.zeros(1, 1, 128),
        "lm_head.weight": torch.zeros(7, 128),
        "lm_head.bias": torch.zeros(7),
    }
    state |= {"rope.freqs_cos": torch.zeros(196, 64), "rope.freqs_sin": torch.zeros(196, 64)}

    def expected(images: Tensor) -> Tensor:
        return net.fc_norm(net.forward_features(images)[:, 1:].mean(1))

    return Published(write(folder, {"module": state, "iteration": 9}, "eva.pt"), expected)


def dinov2_file(entry: PublishedEncoder, folder: Path) -> Published:
    """CheXFound: DINOv2's own names of what transformers computes: chunked blocks, SwiGLU, registers."""
    size = entry.preprocess.size
    net = scattered(
        transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(
                hidden_size=128, num_hidden_layers=4, num_attention_heads=2, image_size=size, patch_size=64,
                num_register_tokens=4, use_swiglu_ffn=True, layerscale_value=0.5,
            )
        )
    )  # fmt: skip
    net.save_pretrained(folder / "hf")  # the names that its files have, whatever the version calls them in memory
    state, theirs = {}, load_file(folder / "hf" / "model.safetensors")
    outside = {
        "cls_token": "embeddings.cls_token", "mask_token": "embeddings.mask_token", "norm.weight": "layernorm.weight",
        "register_tokens": "embeddings.register_tokens", "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight", "norm.bias": "layernorm.bias",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    }  # fmt: skip
    state |= {ours: theirs[name] for ours, name in outside.items()}
    inside = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attention.output.dense", "mlp.w12": "mlp.weights_in",
              "mlp.w3": "mlp.weights_out"}  # fmt: skip
    for k in range(4):
        here, there = f"blocks.{k // 2}.{k}", f"encoder.layer.{k}"
        for part in ("weight", "bias"):
            state |= {f"{here}.{a}.{part}": theirs[f"{there}.{b}.{part}"] for a, b in inside.items()}
            qkv = [theirs[f"{there}.attention.attention.{q}.{part}"] for q in ("query", "key", "value")]
            state[f"{here}.attn.qkv.{part}"] = torch.cat(qkv)
        state |= {f"{here}.ls{i}.gamma": theirs[f"{there}.layer_scale{i}.lambda1"] for i in (1, 2)}
    teacher = {f"backbone.{name}": value for name, value in state.items()} | {
        "dino_head.last_layer.weight": torch.zeros(3)
    }
    mean, std = (torch.tensor(v)[:, None, None] for v in (entry.preprocess.mean, entry.preprocess.std))

    def expected(images: Tensor) -> Tensor:
        pixels = images * std + mean
        low, high = (f(pixels, dim=(2, 3), keepdim=True) for f in (torch.amin, torch.amax))
        return net(((pixels - low) / (high - low) - mean) / std).last_hidden_state[:, 0]

    return Published(write(folder, {"teacher": teacher}), expected)


def chexagent_file(entry: PublishedEncoder, folder: Path) -> Published:
    """A folder of shards: the vision tower among a language model's weights."""
    config = transformers.Blip2VisionConfig(
        hidden_size=176, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, patch_size=56,
        image_size=entry.preprocess.size,
    )  # fmt: skip
    net = scattered(transformers.Blip2VisionModel(config))
    state = {f"vision_model.{name}": value.contiguous() for name, value in net.state_dict().items()}
    names = sorted(state)
    save_file(
        {n: state[n] for n in names[::2]} | {"language_model.norm.weight": torch.ones(3)},
        folder / "model-00001-of-00002.safetensors",
    )
    save_file({n: state[n] for n in names[1::2]}, folder / "model-00002-of-00002.safetensors")
    return Published(folder, lambda x: net(x).pooler_output)
