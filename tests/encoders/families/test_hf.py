"""The hf family, on tiny checkpoints that ``save_pretrained`` writes: the layout of the hub."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T

from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.plugins.loading import probe

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
VISION = {**SIZES, "intermediate_size": 48}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
SQUASH = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2}
CROP = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 40},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "resample": 3,
}
NORM = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5307] * 3,
    "image_std": [0.2583] * 3,
}
SEED = 3


def build(kind: str) -> Any:
    """A tiny model of a kind as its authors would save it, with its head or its text tower."""
    torch.manual_seed(SEED)
    if kind == "vit":
        return T.ViTForImageClassification(T.ViTConfig(**VISION))
    if kind == "dinov2":
        return T.Dinov2Model(T.Dinov2Config(**SIZES))
    if kind == "dinov2_with_registers":
        return T.Dinov2WithRegistersModel(T.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=3))
    if kind == "dinov3_vit":
        return T.DINOv3ViTModel(T.DINOv3ViTConfig(**VISION, num_register_tokens=2))
    if kind == "ijepa":
        return T.IJepaModel(T.IJepaConfig(**VISION))
    if kind == "clip":
        return T.CLIPModel(T.CLIPConfig(vision_config=VISION, text_config=TEXT))
    return T.SiglipModel(T.SiglipConfig(vision_config=VISION, text_config=TEXT))


def save(kind: str, folder: Path, processor: dict[str, Any]) -> Any:
    model = build(kind).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | NORM))
    return model


def reference(kind: str, model: Any, images: torch.Tensor) -> torch.Tensor:
    """The embedding, from the library's own forward of the whole model."""
    if kind == "vit":
        return model.vit(images).last_hidden_state[:, 0]
    if kind.startswith("dinov"):
        return model(images).pooler_output
    if kind == "ijepa":
        return model(images).last_hidden_state.mean(1)
    return model.vision_model(images).pooler_output


def image_parameters(model: Any) -> int:
    """Parameters of all that an image goes through."""
    image = getattr(model, "vision_model", getattr(model, "vit", model))
    projection = getattr(model, "visual_projection", None)
    return sum(p.numel() for part in (image, projection) if part is not None for p in part.parameters())


KINDS = ["vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "ijepa", "clip", "siglip"]


@pytest.mark.parametrize("kind", KINDS)
def test_pooled_equals_the_librarys(kind: str, tmp_path: Path) -> None:
    model = save(kind, tmp_path, CROP)
    loaded = load_encoder(f"hf:{tmp_path}", synthetic=False)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = loaded.module(images)
        torch.testing.assert_close(features.pooled, reference(kind, model, images))
    assert [tuple(m.shape) for m in features.maps] == [(2, 32, 4, 4)] * 4
    assert probe(loaded).pooled.shape == (2, 32)
    assert loaded.spec.parameters == image_parameters(model)  # the text tower is kept and not counted


def test_maps_are_the_blocks_outputs_without_cls_and_registers(tmp_path: Path) -> None:
    model = save("dinov2_with_registers", tmp_path, CROP)
    seen: list[torch.Tensor] = []
    for layer in model.encoder.layer:
        layer.register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        model(images)
        maps = load_encoder(f"hf:{tmp_path}", synthetic=False).module(images).maps
    for tokens, grid in zip(seen, maps, strict=True):
        torch.testing.assert_close(grid[0, :, 1, 2], tokens.reshape(-1, 32)[1 + 3 + 1 * 4 + 2])


def test_a_vit_is_read_at_the_mean_of_its_patches_where_its_card_says_so(tmp_path: Path) -> None:
    model = save("dinov2_with_registers", tmp_path, CROP)
    images = torch.rand(2, 3, 32, 32)
    before = load_encoder(f"hf:{tmp_path}", synthetic=False).spec.fingerprint
    (tmp_path / "cxrbench.toml").write_text('pooling = "mean"\n')
    for spec in (f"hf:{tmp_path}", f"cxr:cxformer-small@{tmp_path}"):
        loaded = load_encoder(spec, synthetic=False)
        with torch.inference_mode():
            patches = model(images).last_hidden_state[:, 1 + 3 :]
            torch.testing.assert_close(loaded.module(images).pooled, patches.mean(1))
        assert loaded.spec.fingerprint != before
    assert "pooling mean in place of the published: CLS token" in "; ".join(loaded.spec.card.assumed)
    (tmp_path / "cxrbench.toml").write_text('pooling = "mean+sd"\n')
    with pytest.raises(UserError, match="read in one way only"):
        load_encoder(f"hf:{tmp_path}", synthetic=False)


def test_preprocessing_of_the_processors() -> None:
    from cxrbench.encoders.families.model_config import hf_preprocess

    crop = hf_preprocess(CROP | NORM)
    assert (crop.size, crop.resize, crop.crop_pct, crop.interpolation) == (32, "crop", 0.8, "bicubic")
    assert crop.mean == (0.5307,) * 3
    squash = hf_preprocess(SQUASH | NORM | {"do_normalize": False})
    assert (squash.size, squash.resize, squash.interpolation, squash.mean) == (32, "squash", "bilinear", (0.0,))
    for wrong in ({"size": {"height": 32, "width": 16}}, {"resample": 0}, {"rescale_factor": 1 / 127.5}):
        with pytest.raises(UserError, match="support"):
            hf_preprocess(SQUASH | NORM | wrong)
    with pytest.raises(UserError, match="supported"):
        hf_preprocess(CROP | NORM | {"do_center_crop": False})


def test_images_of_another_size_than_the_positions(tmp_path: Path) -> None:
    """As the published DINOv2: trained at 518 px, its processor gives 224."""
    for kind in ("dinov2", "vit"):
        save(kind, tmp_path / kind, SQUASH | {"size": {"height": 48, "width": 48}})
        loaded = load_encoder(f"hf:{tmp_path / kind}", synthetic=False)
        assert probe(loaded).maps[0].shape == (2, 32, 6, 6)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save("dinov2", tmp_path, CROP)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.0.extra"] = weights.pop("encoder.layer.0.norm1.bias")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1 missing: encoder\.layer\.0\.norm1\.bias; 1 unexpected: encoder.*extra"):
        load_encoder(f"hf:{tmp_path}", synthetic=False)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save("dinov2", tmp_path, CROP)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.1.norm2.weight"][3] = torch.nan
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"hf:.* holds NaN or infinity, first in encoder\.layer\.1\.norm2\.weight"):
        load_encoder(f"hf:{tmp_path}", synthetic=False)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["CXRBENCH_TEST_PWNED"],)


def test_a_pickle_with_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRBENCH_TEST_PWNED", str(tmp_path / "pwned"))
    save("dinov2", tmp_path / "m", CROP)
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save({"layernorm.weight": Code()}, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(UserError, match="not run"):
        load_encoder(f"hf:{tmp_path / 'm'}", synthetic=False)
    assert not (tmp_path / "pwned").exists()


def test_repository_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "radjepa", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}})
    )
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    with pytest.raises(UserError):
        load_encoder(f"hf:{tmp_path}", synthetic=False)
    assert not (tmp_path / "pwned").exists()


def test_offline_missing_and_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True, raising=False)
    with pytest.raises(UserError, match=r"without network, fetch it elsewhere.*pass hf:FOLDER"):
        load_encoder("hf:nobody/no-such-model", synthetic=False)
    with pytest.raises(UserError, match=r"without config\.json"):
        load_encoder(f"hf:{tmp_path}", synthetic=False)
    T.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a 'bert'; supported are vit"):
        load_encoder(f"hf:{tmp_path}", synthetic=False)
    with pytest.raises(UserError, match="hf takes a repository"):
        load_encoder("hf:a/b@c", synthetic=False)


def test_rad_dinos_card() -> None:
    from cxrbench.encoders.families.published.recognised import card_of

    card = card_of("hf", "Microsoft/RAD-DINO", "x")
    assert (card.licence, card.pretrained_on) == ("MIT", ("mimic", "chexpert", "nih", "padchest", "brax"))
