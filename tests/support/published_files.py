"""Small checkpoints in the layouts of published encoders, name for name, and what they give for an image.

Each builder writes a file (or folder) for an entry and returns its path and the embedding that the network has by
another's code: timm's, torchvision's, transformers' or open_clip's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torchvision
import transformers
from safetensors.torch import load_file, save_file
from timm.models import eva, swin_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrbench.encoders.families.published.entry import PublishedEncoder

EXTRA = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}, "scheduler": {"last_epoch": 3}}


class Published(NamedTuple):
    """A file or folder, and what it gives for images [B, C, size, size]."""

    path: Path
    expected: Callable[[Tensor], Tensor]


def images_for(entry: PublishedEncoder) -> Tensor:
    """Random preprocessed images: as large as the encoder wants, or smaller where its network takes any size."""
    any_size = entry.loader in ("densenet", "biovil", "resnet") and "attention_pool" not in entry.options
    size = 96 if any_size else entry.preprocess.size
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2 if size < 300 else 1, entry.preprocess.channels, size, size, generator=generator)


def scattered(module: nn.Module) -> Any:
    """The module in eval mode with weights that differ everywhere, batch statistics too."""
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator) * 0.1
            value.data.copy_(1 + drawn.abs() if "running_var" in name or "norm" in name or "bn" in name else drawn)
    return module.eval()


def write(folder: Path, content: Any, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


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


def small_resnet(channels: int = 3, *, bottleneck: bool = False) -> Any:
    """torchvision's ResNet of one block a stage."""
    block = torchvision.models.resnet.Bottleneck if bottleneck else torchvision.models.resnet.BasicBlock
    net = torchvision.models.resnet.ResNet(block, [1, 1, 1, 1], num_classes=5)
    net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return scattered(net)


def resnet_file(entry: PublishedEncoder, folder: Path) -> Published:
    """GLoRIA, MGCA, BioViL, M-FLAG, torchvision's in torchxrayvision, RadImageNet, PRIOR, MedKLIP."""
    options, channels = entry.options, entry.options.get("channels", 3)
    net = small_resnet(channels, bottleneck=entry.name in ("medklip", "prior", "m-flag"))
    prefix = options.get("prefix", options.get("prefixes", [""])[0])
    children = {str(at): part for at, part in enumerate(net.children())}
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items() if not name.startswith("fc.")}
    if options.get("sequential"):
        last = 7 if options.get("stages") == 3 else 9
        parts = nn.Sequential(*[children[str(at)] for at in range(last)])
        state = {f"{prefix}{name}": value for name, value in parts.state_dict().items()}
    if entry.name == "xrv-resnet50-all":
        state = net.state_dict()
    cut = nn.Sequential(*list(net.children())[: 7 if "mlp" in options else 8])

    def stages(images: Tensor) -> Tensor:
        if options.get("enlarged"):
            images = nn.Upsample(size=(299, 299), mode="bilinear", align_corners=True)(images)
        return cut(images)

    if "mlp" in options:
        first, second = scattered(nn.Linear(1024, 32)), scattered(nn.Linear(32, 16))
        state |= {f"res_l1.{n}": v for n, v in first.state_dict().items()}
        state |= {f"res_l2.{n}": v for n, v in second.state_dict().items()} | {"classifier.weight": torch.zeros(2, 2)}
        content = {"model": {f"module.{name}": value for name, value in state.items()}, **EXTRA}
        return Published(write(folder, content), lambda x: second(F.relu(first(stages(x).flatten(2).mT))).mean(1))
    if "attention_pool" in options:
        return _with_attention_pool(entry, folder, state, stages)
    content = {"state_dict": state, "epoch": 3} if prefix and not options.get("sequential") else state
    return Published(write(folder, content), lambda x: stages(x).mean((2, 3)))


def _with_attention_pool(
    entry: PublishedEncoder, folder: Path, state: dict[str, Tensor], stages: Callable[[Tensor], Tensor]
) -> Published:
    generator = torch.Generator().manual_seed(4)
    pool = {f"{n}_proj.{p}": torch.randn(2048, *([2048] if p == "weight" else []), generator=generator) * 0.01
            for n in "qkvc" for p in ("weight", "bias")}  # fmt: skip
    pool["positional_embedding"] = torch.randn(50, 2048, generator=generator) * 0.1
    state = state | {f"{entry.options['attention_pool']}{name}": value for name, value in pool.items()}
    state["local_image_projection.weight"] = torch.zeros(4, 4)

    def expected(images: Tensor) -> Tensor:
        places = stages(images).flatten(2).permute(2, 0, 1)
        tokens = torch.cat([places.mean(0, keepdim=True), places]) + pool["positional_embedding"][:, None]
        return F.multi_head_attention_forward(
            tokens, tokens, tokens, 2048, 8, None,
            torch.cat([pool["q_proj.bias"], pool["k_proj.bias"], pool["v_proj.bias"]]), None, None, False, 0.0,
            pool["c_proj.weight"], pool["c_proj.bias"], training=False, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=pool["q_proj.weight"], k_proj_weight=pool["k_proj.weight"],
            v_proj_weight=pool["v_proj.weight"],
        )[0][0]  # fmt: skip

    return Published(write(folder, {"state_dict": state, "epoch": 3}), expected)


def densenet_file(entry: PublishedEncoder, folder: Path) -> Published:
    """torchxrayvision's state dict of a DenseNet, its classifier and thresholds with it."""
    net = torchvision.models.densenet.DenseNet(8, (1, 1, 2, 1), 16, num_classes=18)
    net.features.conv0 = nn.Conv2d(1, 16, 7, stride=2, padding=3, bias=False)
    net = scattered(net)
    path = write(folder, net.state_dict() | {"op_threshs": torch.zeros(18)})
    return Published(path, lambda x: F.relu(net.features(x)).mean((2, 3)))


def biovil_file(entry: PublishedEncoder, folder: Path) -> Published:
    """BioViL-T's image model, with what compares two images."""
    net = small_resnet()
    state = {f"encoder.encoder.{name}": value for name, value in net.state_dict().items()}
    projection = torch.randn(16, 512, 1, 1, generator=torch.Generator().manual_seed(6)) * 0.02
    missing = torch.randn(1, 16, 1, 1, generator=torch.Generator().manual_seed(7))
    state |= {"encoder.backbone_to_vit.weight": projection, "encoder.missing_previous_emb": missing}
    state |= {
        "encoder.vit_pooler.type_embed": torch.zeros(2, 1, 16),
        "projector.model.0.weight": torch.zeros(8, 32, 1, 1),
    }
    cut = nn.Sequential(*list(net.children())[:8])

    def expected(images: Tensor) -> Tensor:
        static = F.conv2d(cut(images), projection)
        fused = torch.cat([static, missing.expand(len(images), -1, *static.shape[2:])], dim=1)
        return F.adaptive_avg_pool2d(fused, 1).flatten(1)

    return Published(write(folder, state, "biovil.pt"), expected)


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


BUILDERS: dict[str, Callable[[PublishedEncoder, Path], Published]] = {
    "vit": vit_file, "jepa": jepa_file, "swin": swin_file, "eva": eva_file, "dinov2": dinov2_file,
    "resnet": resnet_file, "densenet": densenet_file, "biovil": biovil_file, "chexagent": chexagent_file,
}  # fmt: skip
