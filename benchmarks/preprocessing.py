"""Images as timm, transformers, open_clip and torchxrayvision prepare them with their own code, beside ours.

Run: python benchmarks/preprocessing.py   (half a minute; writes benchmarks/results/preprocessing.md)

timm, transformers and open_clip resize 8-bit pixels and round to 8 bits; ours resizes floating-point numbers. So a
pixel may differ by rounding, and by a little more where bicubic overshoots at an edge. What that does to features is
measured with a small network of each library, drawn at random: its features of their pixels, and of ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import open_clip
import timm
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from report import write_report
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from cxrbench.data.decode.preprocess import prepare
from cxrbench.encoder import Preprocess
from cxrbench.encoders.families.model_config import hf_preprocess, open_clip_preprocess, timm_preprocess

SHAPES = ((700, 560), (520, 520), (480, 640))
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
ALWAYS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "RAD-DINO's": ("BitImageProcessor", {"size": {"shortest_edge": 518}, "crop_size": {"height": 518, "width": 518},
                   "do_center_crop": True, "resample": 3, "image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}),
    "MedSigLIP's": ("SiglipImageProcessor", {"size": {"height": 448, "width": 448}, "resample": 2,
                    "image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    "CLIP's": ("CLIPImageProcessor", {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224},
               "do_center_crop": True, "resample": 3, **CLIP}),
    "DINOv3's": ("DINOv3ViTImageProcessor", {"size": {"height": 224, "width": 224}, "resample": 2, **IMAGENET}),
}  # fmt: skip
TIMM = ("resnet10t", "vit_tiny_patch16_224", "deit_tiny_patch16_224")
MODES = ("shortest", "squash", "longest")


@dataclass(frozen=True)
class Pipeline:
    """``theirs``: an 8-bit picture [H, W] to pixels [3, size, size] by the library's code; ``ours``: how we do it.

    ``network``: [B, 3, size, size] to features [B, D], by the library's code.
    """

    library: str
    name: str
    theirs: Callable[[NDArray[np.uint8]], Tensor]
    ours: Preprocess
    network: Callable[[Tensor], Tensor]


def radiograph(height: int, width: int) -> NDArray[np.uint8]:
    """An 8-bit picture with smooth areas, edges and noise."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    smooth = 120 + 80 * np.sin(x / 37) * np.cos(y / 51)
    edges = np.where((x // 60 + y // 45) % 2 > 0, 25.0, -25.0)
    noise = np.random.default_rng(0).normal(0, 6, (height, width))
    return np.clip(smooth + edges + noise, 0, 255).astype(np.uint8)


def _of_timm(name: str) -> Pipeline:
    network: Any = timm.create_model(name, pretrained=False, num_classes=0).eval()
    config = resolve_model_data_config(network, use_test_size=True)
    theirs = _of_pil(create_transform(**config, is_training=False))  # type: ignore[arg-type]
    return Pipeline("timm", name, theirs, timm_preprocess(config), network)


def _of_transformers(name: str) -> Pipeline:
    kind, facts = PROCESSORS[name]
    processor: Any = getattr(transformers, kind, None) or getattr(transformers, f"{kind}Fast")
    processor = processor(**facts | ALWAYS)
    small = transformers.Dinov2Config(hidden_size=64, num_hidden_layers=4, num_attention_heads=2, image_size=224)
    model: Any = transformers.Dinov2Model(small).eval()

    def theirs(image: NDArray[np.uint8]) -> Tensor:
        return processor(Image.fromarray(image).convert("RGB"), return_tensors="pt")["pixel_values"][0]

    ours = hf_preprocess(processor.to_dict())
    return Pipeline("transformers", name, theirs, ours, lambda images: model(images).last_hidden_state[:, 0])


def _of_open_clip(mode: str) -> Pipeline:
    config: dict[str, Any] = {
        "size": 224, "mode": "RGB", "mean": CLIP["image_mean"], "std": CLIP["image_std"], "fill_color": 0,
        "interpolation": "bicubic", "resize_mode": mode,
    }  # fmt: skip
    transform: Any = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**config), is_train=False)
    tower: Any = open_clip.model.CLIP(
        embed_dim=64,
        vision_cfg=open_clip.model.CLIPVisionCfg(image_size=224, layers=4, width=64, head_width=32, patch_size=16),
        text_cfg=open_clip.model.CLIPTextCfg(context_length=8, vocab_size=16, width=32, heads=2, layers=1),
    ).eval()
    return Pipeline("open_clip", mode, _of_pil(transform), open_clip_preprocess(config), tower.encode_image)


PIPELINES: dict[str, Callable[[], Pipeline]] = {
    **{f"timm {name}": partial(_of_timm, name) for name in TIMM},
    **{f"transformers {name}": partial(_of_transformers, name) for name in PROCESSORS},
    **{f"open_clip {mode}": partial(_of_open_clip, mode) for mode in MODES},
}


def _of_pil(transform: Any) -> Callable[[NDArray[np.uint8]], Tensor]:
    return lambda image: transform(Image.fromarray(image).convert("RGB"))


@dataclass(frozen=True)
class Difference:
    """Of pixels, the largest and the mean one in levels of 255, whatever the normalization; of features, the least
    cosine of an image's.
    """

    largest: float
    mean: float
    cosine: float


def difference(one: Pipeline, shapes: tuple[tuple[int, int], ...] = SHAPES) -> Difference:
    """Over pictures of these shapes. Raises ValueError where the two make pixels of different shapes."""
    std = torch.tensor(one.ours.std)[:, None, None]
    levels, cosines = [], []
    for image in (radiograph(*shape) for shape in shapes):
        theirs, ours = one.theirs(image), prepare((image / 255).astype(np.float32), one.ours)
        if ours.shape != theirs.shape:
            raise ValueError(f"{one.library} {one.name}: {list(theirs.shape)} theirs, {list(ours.shape)} ours")
        levels.append(((ours - theirs).abs() * std * 255).flatten())
        with torch.inference_mode():
            features = one.network(torch.stack([theirs, ours])).double()
        cosines.append(float(torch.cosine_similarity(features[0], features[1], dim=0)))
    every = torch.cat(levels)
    return Difference(float(every.max()), float(every.mean()), min(cosines))


def of_torchxrayvision() -> Difference:
    """Its own DenseNet on three squares, the only pictures that it resizes; levels are of 255, as for the others."""
    import torchxrayvision as xrv  # type: ignore[import-untyped]

    from cxrbench.encoders.families.published.catalogue import published

    ours = published("xrv-densenet121-all").preprocess
    torch.manual_seed(0)
    network: Any = xrv.models.DenseNet(weights=None).eval()

    def theirs(image: NDArray[np.uint8]) -> Tensor:
        gray = torch.from_numpy(xrv.utils.normalize(image, 255))[None, None]
        return xrv.utils.fix_resolution(gray, ours.size, network)[0]

    one = Pipeline("torchxrayvision", "densenet121", theirs, ours, network.features2)
    return difference(one, ((300, 300), (224, 224), (500, 500)))


def main() -> None:
    """Measure all and write the table."""
    rows = []
    for make in PIPELINES.values():
        torch.manual_seed(0)
        one = make()
        how = f"{one.ours.resize} {one.ours.size}, {one.ours.interpolation}"
        rows.append([one.library, one.name, how, *_numbers(difference(one))])
    rows.append(["torchxrayvision", "densenet121", "squares to 224, bilinear", *_numbers(of_torchxrayvision())])
    versions = {m.__name__: m.__version__ for m in (timm, transformers, open_clip)}
    write_report(
        "preprocessing",
        "Images as other libraries prepare them, and as we do",
        [
            "Library",
            "Pipeline",
            "Images",
            "Largest difference of a pixel",
            "Mean difference",
            "Least cosine of features",
        ],
        rows,
        f"Three pictures each ({', '.join(f'{h} x {w}' for h, w in SHAPES)}; squares for torchxrayvision). Differences "
        "of pixels in levels of 255, before normalization. Features: of a small network of the library with random "
        "weights, of their pixels and of ours. timm, transformers and open_clip round to whole levels, ours does not. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
    )


def _numbers(diff: Difference) -> list[str]:
    return [f"{diff.largest:.4f}", f"{diff.mean:.4f}", f"{diff.cosine:.7f}"]


if __name__ == "__main__":
    main()
