"""CLIP's and SigLIP's text towers of transformers, by hf: and by cxr:, give what transformers' own models give."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as T
from scipy.special import expit, softmax
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.task import Cell
from cxrbench.tasks.classification.prompts import of_class, pair
from cxrbench.tasks.classification.zero_shot import TASK
from cxrbench.tasks.retrieval.text_tower import beside_texts, text_tower

VISION = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
          "intermediate_size": 48}  # fmt: skip
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50,
        "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "max_position_embeddings": 9}  # fmt: skip
WORDS = ["<s>", "</s>", "<unk>", "no", "effusion", "mass", "a", "chest", "X", "-", "ray", "showing", "normal",
         "abnormal"]  # fmt: skip
LABELS = ("effusion", "mass")
PROCESSOR = {"size": {"height": 32, "width": 32}, "resample": 3, "do_resize": True, "do_rescale": True,
             "do_center_crop": False, "do_normalize": True, "image_mean": [0.5] * 3,
             "image_std": [0.5] * 3}  # fmt: skip


def built(kind: str, folder: Path) -> Any:
    """A small model of transformers with image processor and tokenizer, in its repository's layout."""
    torch.manual_seed(2)
    if kind == "clip":
        model: Any = T.CLIPModel(T.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24))
    else:
        model = T.SiglipModel(T.SiglipConfig(vision_config=VISION, text_config=TEXT))
        torch.nn.init.constant_(model.logit_scale, 2.3)
        torch.nn.init.constant_(model.logit_bias, -1.5)
    for value in model.state_dict().values():
        if value.ndim > 1:
            value.copy_(torch.randn(value.shape) * 0.6)
    model.eval().save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 1)]
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    T.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"] if kind == "clip" else ["input_ids"],
    ).save_pretrained(folder)  # fmt: skip
    kinds = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"image_processor_type": kinds[kind]}))
    return model


def their_logits(model: Any, folder: Path, images: torch.Tensor, texts: list[str]) -> np.ndarray:
    """``logits_per_image`` of the whole model, less its bias and scale: the cosines that transformers computed."""
    padding: Any = True if isinstance(model, T.CLIPModel) else "max_length"
    tokenizer = T.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(texts, padding=padding, max_length=9, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(pixel_values=images, **inputs).logits_per_image
        return ((logits - getattr(model, "logit_bias", 0.0)) / model.logit_scale.exp()).double().numpy()


def toy(kind: Any) -> Manifest:
    ids = [f"{i:02}" for i in range(6)]
    split = ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "study_id": ids, "view": "", "split": split, "path": ids, "bytes": 1}
    )
    truth = np.array([1, 0, 1, 0, 1, 0], np.float32)
    return Manifest("toy", Path(), images.assign(effusion=truth, mass=1 - truth), LABELS, kind)


@pytest.mark.parametrize("spec", ["hf:{}", "cxr:medsiglip-448@{}"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_zero_shot_equals_transformers_own_logits(kind: str, spec: str, tmp_path: Path) -> None:
    model = built(kind, tmp_path)
    loaded = load_encoder(spec.format(tmp_path), synthetic=False)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        pooled = loaded.module(images).pooled.numpy()
    context = SimpleNamespace(options=SimpleNamespace(device=torch.device("cpu")))
    encoder: Any = SimpleNamespace(spec=loaded.spec, module=loaded.module, pooled=lambda m: pooled, context=context)
    for answers in ("multilabel", "multiclass"):
        scores = TASK.run(encoder, toy(answers), Cell(spec, "toy", "zero-shot", 1.0)).rows
        if answers == "multilabel":
            pairs = [their_logits(model, tmp_path, images[2:], list(pair(label))) for label in LABELS]
            expected = np.stack([expit(logits[:, 0] - logits[:, 1]) for logits in pairs], axis=1)
        else:
            expected = softmax(their_logits(model, tmp_path, images[2:], [of_class(x) for x in LABELS]), axis=1)
        assert expected.std(axis=0).min() > 3e-5  # it is no constant that both agree on
        np.testing.assert_allclose(scores[[f"score:{x}" for x in LABELS]].to_numpy(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_images_find_their_texts_as_transformers_ranks_them(kind: str, tmp_path: Path) -> None:
    model = built(kind, tmp_path)
    loaded = load_encoder(f"hf:{tmp_path}", synthetic=False)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    texts = ["no effusion", "mass", "a normal chest X-ray", "abnormal mass effusion no no no no no no no no"]
    with torch.inference_mode():
        pooled = loaded.module(images).pooled.numpy()
    context = SimpleNamespace(options=SimpleNamespace(device=torch.device("cpu")))
    encoder: Any = SimpleNamespace(spec=loaded.spec, module=loaded.module, context=context)
    tower = text_tower(encoder)
    assert tower is not None
    beside = beside_texts(encoder, pooled)
    cosines = (beside / np.linalg.norm(beside, axis=1, keepdims=True)) @ tower(texts).T
    np.testing.assert_allclose(cosines, their_logits(model, tmp_path, images, texts), atol=1e-5)


def test_a_vision_model_alone_has_no_text_tower(tmp_path: Path) -> None:
    model = built("clip", tmp_path)
    T.CLIPVisionModel(model.config.vision_config).save_pretrained(tmp_path / "vision")
    (tmp_path / "vision" / "preprocessor_config.json").write_text(
        json.dumps(PROCESSOR | {"image_processor_type": "CLIPImageProcessor"})
    )
    loaded = load_encoder(f"hf:{tmp_path / 'vision'}", synthetic=False)
    assert not hasattr(loaded.module, "encode_text")


def test_a_missing_tokenizer_is_one_line_and_another_one_another_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built("siglip", tmp_path)
    before = load_encoder(f"hf:{tmp_path}", synthetic=False).spec
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 7}))
    after = load_encoder(f"hf:{tmp_path}", synthetic=False)
    assert after.spec.fingerprint != before.fingerprint

    def missing(*args: object, **options: object) -> None:
        raise OSError("no tokenizer files\nand more")

    monkeypatch.setattr(T.AutoTokenizer, "from_pretrained", missing)
    module: Any = after.module
    with pytest.raises(UserError, match=r"cannot read the tokenizer of .*no tokenizer files") as told:
        module.encode_text(["effusion"])
    assert "\n" not in str(told.value)
