"""FaNe's text side: sentences, the BERT folder, the corpus, pooling."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertModel

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.fane.corpus import ReportCorpus, has_sentences, report_corpus
from cxrbench.encoders.fane.text import LONGEST, TextTower, joined_states, joined_tokens, split_sentences
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import prepare_images, training_rows
from cxrbench.encoders.text import bert as fane_bert
from cxrbench.encoders.text import sentence_encoder
from cxrbench.encoders.text.bert import load_bert, sentence_states, text_embeddings, token_numbers
from cxrbench.errors import UserError
from support.fane_data import WORDS, write_bert, write_studies

CPU = torch.device("cpu")
ARCH = ViTConfig(64, 4, 1, 8, 24, channels=1)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_studies(tmp_path_factory.mktemp("data"))


def corpus(manifest: Manifest, cache: Path, bert: str, least: int = 4, train_text: bool = False) -> ReportCorpus:
    rows = training_rows([manifest], eligible=lambda m: has_sentences(m, least))
    images = TrainingImages(prepare_images(rows, gray_preprocess(ARCH), cache), rows, {"toy": manifest})
    return report_corpus(images, text=bert, train_text=train_text)


# Sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "The lungs are clear. No effusion or 2.5 cm nodule.",
            ["The lungs are clear.", "No effusion or 2.5 cm nodule."],
        ),
        ("1. Edema. 2. No pneumothorax.", ["Edema.", "No pneumothorax."]),
        ("1.  Small left effusion.\n 2.  Edema?  ___. ", ["Small left effusion.", "Edema?"]),
        ("Seen by Dr. Smith at 10. Clear lungs", ["Seen by Dr. Smith at 10.", "Clear lungs"]),
        ("... 12. ___.", []),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_report_is_cut_at_112_tokens_and_every_token_knows_its_sentence(bert: str) -> None:
    tokeniser = load_bert(bert).tokeniser
    rows = [[5] * 60, [6] * 3, [7] * 70, [8] * 4]
    ids, index = joined_tokens(rows, tokeniser)
    assert len(ids) == len(index) == LONGEST == 112
    assert (ids[0], ids[-1]) == (2, 3)
    assert index == [0, *[1] * 60, *[2] * 3, *[3] * 47, 0]
    states, of = joined_states([np.full((len(row), 2), row[0], np.float16) for row in rows])
    assert of == index[1:-1]
    assert states[:, 0].tolist() == ids[1:-1]
    assert joined_tokens([[5], [6, 6]], tokeniser) == ([2, 5, 6, 6, 3], [0, 1, 2, 2, 0])


# The BERT


def test_states_and_embeddings_are_those_of_transformers(bert: str) -> None:
    loaded = load_bert(bert)
    texts = ["there is no heart .", "lung .", "there is mass mass mass ."]
    rows = token_numbers(loaded.tokeniser, texts)
    model: Any = BertModel.from_pretrained(bert).eval()
    tokeniser = AutoTokenizer.from_pretrained(bert)
    states = sentence_states(loaded, rows, CPU, LONGEST)
    vectors = text_embeddings(loaded, rows, CPU, LONGEST)
    for i, text in enumerate(texts):
        with torch.no_grad():
            output = model(**tokeniser(text, return_tensors="pt"))
        np.testing.assert_allclose(states[i], output.last_hidden_state[0, 1:-1].half().numpy(), atol=2e-3)
        pooled = torch.nn.functional.normalize(output.pooler_output, dim=1)[0]
        np.testing.assert_allclose(vectors[i], pooled.numpy(), atol=1e-5)
    assert loaded.source.pooled == "pooler"
    assert loaded.source.width == 16


@pytest.mark.parametrize(("pooler", "mean"), [(False, False), (True, True)])
def test_without_a_trained_pooler_the_mean_is_taken(tmp_path: Path, pooler: bool, mean: bool) -> None:
    loaded = load_bert(str(write_bert(tmp_path, pooler=pooler, mean=mean)))
    assert loaded.source.pooled == "mean"
    (row,) = token_numbers(loaded.tokeniser, ["there is no rib ."])
    model: Any = AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        whole = model(torch.tensor([[2, *row, 3]])).last_hidden_state[0]
    expected = torch.nn.functional.normalize(whole.mean(dim=0), dim=0).numpy()
    np.testing.assert_allclose(text_embeddings(loaded, [row], CPU, LONGEST)[0], expected, atol=1e-5)


def test_a_bert_is_known_by_its_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 2), ("c", 1)):
        write_bert(tmp_path / name, seed)
    BertModel.from_pretrained(tmp_path / "a", add_pooling_layer=False).save_pretrained(tmp_path / "b")
    a, b, c = (load_bert(str(tmp_path / name)).source.sha256 for name in "abc")
    assert a == b != c  # the pooler is not what reports are read by


def test_a_folder_is_remembered_wherever_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bert(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    name = load_bert("bert").source.name
    monkeypatch.chdir("/")
    assert load_bert(name).source.name == str(tmp_path / "bert")


def test_errors_of_a_text_encoder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text=.* cannot be loaded .*give a folder with config\.json"):
        load_bert(str(tmp_path))
    write_bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(UserError, match=r"do not fit its config\.json"):
        load_bert(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="'gpt2': FaNe's text encoder is a plain BERT"):
        load_bert(str(tmp_path))


def test_a_bert_of_what_is_no_number_is_refused(tmp_path: Path) -> None:
    write_bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][0, 0] = torch.inf
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"text=.* holds NaN or infinity, first in embeddings\.word_embeddings\.weight"):
        load_bert(str(tmp_path))
    with pytest.raises(UserError, match=r"--text-encoder .* holds NaN or infinity, first in embeddings\.word"):
        sentence_encoder.SentenceEncoder(tmp_path).embed(["w1"], CPU)


def test_without_the_hub_the_default_is_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fane_bert, "default_folder", lambda: write_bert(tmp_path))
    assert load_bert("").source.name == load_bert("all-MiniLM-L6-v2").source.name == "all-MiniLM-L6-v2"
    monkeypatch.setattr(fane_bert, "default_folder", lambda: None)
    with pytest.raises(UserError, match=r"Bio_ClinicalBERT cannot be loaded .* give text=FOLDER"):
        load_bert("")


# The corpus


def test_studies_with_a_frontal_image_and_enough_sentences(manifest: Manifest, tmp_path: Path, bert: str) -> None:
    whole = corpus(manifest, tmp_path, bert)
    assert len(whole) == 8  # studies of 4 and of 5 sentences
    assert set(whole.images.rows["view"]) == {"PA", "AP"}
    assert sorted({len(sentences) for sentences in whole.sentences}) == [4, 5]
    assert len(corpus(manifest, tmp_path, bert, least=1)) == 12
    assert whole.facts["text encoder"]["name"] == bert
    with pytest.raises(UserError, match="toy: there are no training images"):
        corpus(manifest, tmp_path, bert, least=6)


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, i]) for i in range(count)]


def test_a_batch_is_a_function_of_each_units_own_randomness(manifest: Manifest, tmp_path: Path, bert: str) -> None:
    whole = corpus(manifest, tmp_path, bert, train_text=True)
    one, again, other = (whole.batch(np.arange(8), rngs(8, seed)) for seed in (0, 0, 1))
    for name, values in one.items():
        torch.testing.assert_close(values, again[name])
    assert any((a != b).any() for a, b in zip(one["tokens"], other["tokens"], strict=True))
    assert (one["images"] != other["images"]).any()
    half = whole.batch(np.arange(4, 8), rngs(8)[4:])
    length = half["tokens"].shape[1]
    torch.testing.assert_close(half["tokens"], one["tokens"][4:, :length])
    torch.testing.assert_close(half["images"], one["images"][4:])


def test_sentences_are_shuffled_and_nothing_is_lost(manifest: Manifest, tmp_path: Path, bert: str) -> None:
    whole = corpus(manifest, tmp_path, bert, train_text=True)
    batch = whole.batch(np.arange(8), rngs(8))
    for unit in range(8):
        tokens, index = batch["tokens"][unit], batch["sentence_index"][unit]
        told = [tuple(tokens[index == k].tolist()) for k in range(1, int(index.max()) + 1)]
        assert sorted(told) == sorted(whole.tokens[k] for k in whole.sentences[unit])
        assert batch["attention"][unit].sum() == sum(map(len, told)) + 2
    shuffled = [whole.batch(np.arange(1), rngs(1, seed))["tokens"].tolist() for seed in range(5)]
    assert any(tokens != shuffled[0] for tokens in shuffled)


def test_what_frozen_berts_say_is_computed_once_and_without_gradient(
    manifest: Manifest, tmp_path: Path, bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = corpus(manifest, tmp_path, bert)
    monkeypatch.setattr(fane_bert, "_run", None)
    batch = whole.batch(np.arange(8), rngs(8))
    assert batch["states"].dtype == torch.float16
    assert batch["reports"].shape == (8, 16)
    assert not batch["reports"].requires_grad
    np.testing.assert_allclose(batch["reports"].norm(dim=1), 1, atol=1e-6)
    same = whole.batch(np.arange(8), rngs(8, 1))["reports"]
    torch.testing.assert_close(same, batch["reports"])  # the order of sentences does not change it


# Pooling


def test_reports_are_read_once(bert: str, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = corpus(manifest, tmp_path, bert).reports

    def again(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("cxrbench.encoders.fane.corpus.text_embeddings", again)
    np.testing.assert_array_equal(corpus(manifest, tmp_path, bert).reports, first)
    with pytest.raises(AssertionError, match="read again"):
        corpus(manifest, tmp_path, bert, least=5)  # other reports


@pytest.mark.parametrize("head", ["ours", "official"])
@pytest.mark.parametrize("pool", ["attention", "mean"])
def test_padding_and_the_order_of_sentences_do_not_matter(pool: Any, head: Any) -> None:
    torch.manual_seed(0)
    tower = TextTower(16, 8, pool, head=head).eval()
    index = torch.tensor([[0, 1, 1, 1, 2, 3, 3, 0], [0, 1, 1, 0, 0, 0, 0, 0]])
    states = torch.randn(2, 8, 16)
    texts = tower(states, index)
    assert texts.present.tolist() == [[True] * 3, [True, False, False]]
    short = tower(states[1:, :3], index[1:, :3])
    torch.testing.assert_close(short.reports, texts.reports[1:])
    torch.testing.assert_close(short.sentences[:, 0], texts.sentences[1:, 0])
    order = [5, 6, 1, 2, 3, 4]
    moved = tower(states[:1, order], torch.tensor([[1, 1, 2, 2, 2, 3]]))
    torch.testing.assert_close(moved.reports, texts.reports[:1])
    torch.testing.assert_close(moved.sentences[0], texts.sentences[0, [2, 0, 1]])
    tokens = tower.token_projection(states[:1, 1:4])
    if pool == "mean":
        torch.testing.assert_close(texts.sentences[0, 0], tokens[0].mean(dim=0))
    else:
        assert tower.sentence_pool is not None
        there = torch.ones(1, 3, dtype=torch.bool)
        torch.testing.assert_close(texts.sentences[0, 0], tower.sentence_pool(tokens, there)[0])


def test_official_head_projects_tokens_once_and_pools_in_the_common_space() -> None:
    torch.manual_seed(0)
    tower, states = TextTower(24, 16, "mean", head="official"), torch.randn(1, 7, 24)
    texts = tower(states, torch.tensor([[0, 1, 1, 2, 3, 3, 0]]))
    tokens = states[0] @ tower.token_projection.weight.T + tower.token_projection.bias  # type: ignore[operator]
    sentences = torch.stack([tokens[1:3].mean(dim=0), tokens[3], tokens[4:6].mean(dim=0)])
    torch.testing.assert_close(texts.sentences[0], sentences)
    pool, reference = tower.report_pool, torch.nn.MultiheadAttention(16, 8, batch_first=True)
    projections = (pool.q_proj, pool.k_proj, pool.v_proj)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        reference.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        reference.out_proj.load_state_dict(pool.c_proj.state_dict())
    whole = torch.cat([sentences.mean(dim=0, keepdim=True), sentences])[None]
    torch.testing.assert_close(texts.reports, reference(whole[:, :1], whole, whole)[0][:, 0])
    assert tower.projection(texts.reports) is texts.reports
    assert sum(p.numel() for p in tower.parameters()) == 24 * 16 + 16 + 4 * (16 * 16 + 16)


def test_tokens_are_the_words_numbers(bert: str) -> None:
    rows = token_numbers(load_bert(bert).tokeniser, ["there is no heart ."])
    assert rows == [[WORDS.index(word) for word in ("there", "is", "no", "heart", ".")]]
