"""The open_clip family, on tiny models written in the layouts of BiomedCLIP, open_clip and OpenAI."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers

from cxrbench.encoders.families import open_clip as open_clip_family
from cxrbench.encoders.families.published.catalogue import published
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.plugins.loading import probe

VIT = {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "left", "pleural", "effusion"]


@pytest.fixture
def biomedclip(tmp_path: Path) -> tuple[Path, Any]:
    """A folder as BiomedCLIP's repository is: a timm ViT, a BERT, an old file with position numbers."""
    bert = tmp_path / "bert"
    bert.mkdir()
    transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    ).save_pretrained(bert)
    vision = {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    text = {
        "hf_model_name": str(bert),
        "hf_tokenizer_name": str(bert),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 12,
    }
    config = {"model_cfg": {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": PREPROCESS}
    folder = tmp_path / "biomedclip"
    folder.mkdir()
    transformers.BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model: Any = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()
    state = model.state_dict() | {"text.transformer.embeddings.position_ids": torch.arange(12)[None]}
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder, model


def test_biomedclip_layout(biomedclip: tuple[Path, Any]) -> None:
    folder, model = biomedclip
    loaded = load_encoder(f"open_clip:{folder}", synthetic=False)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = loaded.module(images)
        torch.testing.assert_close(features.pooled, model.encode_image(images))
        texts = ["no pleural effusion", "left effusion"]
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
        embedded = loaded.module.encode_text(texts)  # type: ignore[attr-defined]
        torch.testing.assert_close(embedded, model.encode_text(tokens))
    assert embedded.shape == features.pooled.shape == (2, 24)
    assert [m.shape for m in features.maps] == [(2, 192, 14, 14)] * 4
    preprocess = loaded.module.preprocess
    assert (preprocess.size, preprocess.resize, preprocess.interpolation) == (224, "crop", "bicubic")
    assert (list(preprocess.mean), list(preprocess.std)) == (PREPROCESS["mean"], PREPROCESS["std"])
    assert loaded.spec.parameters == sum(p.numel() for p in model.visual.parameters())
    assert "no X-rays of the data sets here" in loaded.spec.card.assumed[0]  # the folder says nothing of its origin
    named = load_encoder(f"cxr:biomedclip@{folder}", synthetic=False)
    assert (named.spec.card.method, named.module.preprocess) == ("BiomedCLIP", preprocess)
    assert named.spec.card.assumed == ()


def test_card_of_the_published_biomedclip() -> None:
    from cxrbench.encoders.families.published.recognised import card_of

    name = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    assert card_of("open_clip", name, "x").licence == "MIT"


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The name of a small ViT CLIP in open_clip's own list of configurations."""
    config = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT}
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    return "tiny-clip"


@pytest.mark.parametrize("layout", ["openai", "custom text", "training"])
def test_name_and_file(tiny: str, layout: str, tmp_path: Path) -> None:
    """CheXzero's files are OpenAI's layout: plain names, half precision, sizes among the weights."""
    torch.manual_seed(1)
    model: Any = open_clip.create_model(tiny, force_custom_text=layout == "custom text").eval()
    state = {name: tensor.half().float() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    if layout == "openai":
        state = {name: tensor.half() for name, tensor in state.items()}
        state |= {n: torch.tensor(32) for n in ("input_resolution", "context_length", "vocab_size")}
    content: Any = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(content if layout == "training" else state, tmp_path / "clip.pt")
    loaded = load_encoder(f"open_clip:{tiny}@{tmp_path / 'clip.pt'}", synthetic=False)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(images).pooled, model.encode_image(images))
        tokens = open_clip.get_tokenizer(tiny)(["effusion"])
        embedded = loaded.module.encode_text(["effusion"])  # type: ignore[attr-defined]
        torch.testing.assert_close(embedded, model.encode_text(tokens))
    assert [m.shape for m in probe(loaded).maps] == [(2, 32, 4, 4)] * 4


def test_a_file_does_not_say_its_numbers(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CheXzero's file under open_clip's name gets CLIP's numbers, which is said; by its own name those of 0..255."""
    path = tmp_path / "clip.pt"
    torch.save(open_clip.create_model(tiny).state_dict(), path)
    (told,) = load_encoder(f"open_clip:{tiny}@{path}", synthetic=False).spec.card.assumed
    assert "mean 0.481455/" in told
    assert "no X-rays" in told
    entry = replace(published("chexzero"), id=tiny)
    monkeypatch.setattr("cxrbench.encoders.families.published.plugin.published", lambda name: entry)
    loaded = load_encoder(f"cxr:chexzero@{path}", synthetic=False)
    mean, std = loaded.module.preprocess.mean[0], loaded.module.preprocess.std[0]
    assert (200 / 255 - mean) / std == pytest.approx((200 - 101.48761) / 83.43944, rel=1e-6)
    assert (loaded.spec.card.pretrained_on, loaded.module.preprocess.resize) == (("mimic",), "pad")
    path.with_name("clip.pt.toml").write_text("channels = 1\nmean = [0.5]\nstd = [0.25]\n")
    with pytest.raises(UserError, match=r"clip.pt.toml says 32 pixels and 1 channel\(s\); the network is of 32 and 3"):
        load_encoder(f"cxr:chexzero@{path}", synthetic=False)


def test_bad_specs(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"visual.proj": torch.zeros(3)}, tmp_path / "bad.pt")
    (tmp_path / "empty").mkdir()

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(open_clip_family, "download_pretrained_from_hf", offline)
    for spec, message in (
        ("open_clip", "open_clip needs a model"),
        ("open_clip:ViT-B-32", "needs weights: open_clip:ViT-B-32@FILE or a tag: openai"),
        (f"open_clip:{tiny}@{tmp_path / 'none.pt'}", "no such file, and tiny-clip has no such pretrained tag"),
        (f"open_clip:{tiny}@{tmp_path / 'bad.pt'}", r"do not fit CustomTextCLIP: \d+ missing: "),
        (f"open_clip:ViT-B-33@{tmp_path / 'bad.pt'}", "no model 'ViT-B-33': did you mean ViT-B-32"),
        (f"open_clip:{tmp_path / 'empty'}", "has no weights: one of open_clip_model.safetensors"),
        ("open_clip:hf-hub:nobody/nothing", "no route to host.*without network, pass a folder"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_encoder(spec, synthetic=False)
        assert "\n" not in str(error.value)
