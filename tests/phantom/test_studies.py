"""The phantom's studies: views, reports, ECGs, labs and lung masks, as the adapters of the real datasets read them."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sleepecg.heartbeats import detect_heartbeats

from cxrbench.data.check import check, format_report
from cxrbench.data.datasets import mimic, symile
from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.decode.images import decode
from cxrbench.data.report_text import sections
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import UserError
from cxrbench.phantom import write as phantom
from cxrbench.phantom.cases import case
from cxrbench.phantom.ecg import RATE, SAMPLES, Heart, ecg, heart, scaled
from cxrbench.phantom.findings import (
    CARDIOMEGALY,
    EFFUSION,
    FIBROSIS,
    FINDINGS,
    NODULE,
    OPACITY,
    PNEUMOTHORAX,
)
from cxrbench.phantom.labs import NAMES, labs, percentiles
from cxrbench.phantom.lateral import expose, lateral
from cxrbench.phantom.layouts import lungs as phantom_lungs
from cxrbench.phantom.reports import report_file, write_report
from cxrbench.phantom.sentences import SeenFinding
from cxrbench.phantom.study import number as number_of
from support.phantom_digest import digest, file_digests
from support.same_rows import assert_same_rows

SMALL = {"mimic": 24, "symile": 20, "lungs": 20}
SEED = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom")
    phantom.write(out, seed=SEED, images=SMALL, workers=1)
    return out


def test_same_bytes_from_one_worker_and_from_two(written: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, seed=SEED, images=SMALL, workers=2)
    assert file_digests(tmp_path) == file_digests(written)


def test_only_what_is_asked_for_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"vindr_train": 1, "vindr_test": 1, "siim": 1, "mimic": 1, "lungs": 1})

    def there(*names: str) -> set[str]:
        return {path.name for path in phantom.ensure(tmp_path, names).iterdir() if path.is_dir()}

    assert there("nobody") == set()
    assert there("siim") == {"siim"}
    assert there("vindr", "mimic") == {"siim", "vindr", "mimic"}


def test_mimic_reads_as_the_real_one(written: Path) -> None:
    manifest = mimic.DATASET.read(written / "mimic")
    images = manifest.images
    assert len(set(images["study_id"])) == SMALL["mimic"]
    assert set(images["split"]) == {"train", "val", "test"}
    assert {"PA", "AP", "L"} <= set(images["view"])
    assert {1, 2, 3} >= set(images.groupby("study_id").size()) > {1}
    assert images.groupby("study_id")[list(manifest.labels)].nunique(dropna=False).to_numpy().max() == 1
    assert manifest.reports is not None
    assert set(manifest.reports["study_id"]) == set(images["study_id"])
    texts = [a + b for a, b in zip(manifest.reports["findings"], manifest.reports["impression"], strict=True)]
    assert min(len(text) for text in texts) > 20
    assert all(0.05 < np.asarray(decode(path)).mean() < 0.9 for path in manifest.paths()[:12])
    report = check(manifest, workers=1)
    assert report.ok
    assert f"{SMALL['mimic']} reports" in format_report(report)


def test_symile_reads_as_the_real_one(written: Path) -> None:
    manifest = symile.DATASET.read(written / "symile")
    assert {s: len(manifest.rows_of(s)) for s in ("train", "val", "test")} == {"train": 13, "val": 2, "test": 5}
    assert manifest.signals is not None
    values = manifest.signals.filter(like="lab:").to_numpy(float)
    assert values.shape == (20, 50)
    assert 0.1 < np.isnan(values).mean() < 0.5
    assert 0 <= np.nanmin(values) <= np.nanmax(values) <= 1
    assert len(json.loads((written / "symile" / "labs_means.json").read_text())) == 50
    signal = read_ecg(manifest.root / manifest.signals["ecg"].tolist()[0])
    assert signal.shape == (12, SAMPLES)
    assert (signal.min(), signal.max()) == (-1, 1)
    images = {i: case("symile", SEED, i) for i in range(SMALL["symile"])}
    shown = [np.asarray(decode(path)) for path in manifest.paths()[:3]]
    assert all(image.shape == (320, 320) for image in shown)
    small = [np.asarray(Image.fromarray(image).resize((256, 256))) for image in shown]
    best = max(np.corrcoef(small[0].ravel(), c.image().image.ravel())[0, 1] for c in images.values())
    assert best > 0.995, "the row is one of the cases' images"
    assert "20 ECGs with labs" in format_report(check(manifest, workers=1))


def test_lungs_masks_lie_on_the_anatomy(written: Path) -> None:
    manifest = phantom_lungs.DATASET.read(written / "lungs")
    assert len(manifest) == 20
    assert manifest.labels == FINDINGS
    assert manifest.masks is not None
    assert set(manifest.masks["label"]) == set(phantom_lungs.CLASSES)
    for number in range(6):
        c = case("lungs", SEED, number)
        image = c.image()
        thorax = image.thorax
        values = np.asarray(Image.open(written / "lungs" / "masks" / f"{c.key.hex[:12]}.png"))
        assert set(np.unique(values)) <= {0, phantom_lungs.IGNORE, *phantom_lungs.CLASSES.values()}
        assert ((values == 1) | (values >= 3) & (values < 255))[thorax.lung].all()
        for finding in image.findings:
            if finding.name == CARDIOMEGALY:
                assert np.isin(values[finding.mask & ~thorax.lung], (2, phantom_lungs.IGNORE)).all()
        assert image.image[values == 1].mean() + 0.1 < image.image[values == 2].mean(), "air is darker than the heart"
    with pytest.raises(UserError, match=r"labels\.csv is missing.*cxrbench data phantom"):
        phantom_lungs.read(written / "mimic")


# What a report's words say, found without the writer's own marks: a label's words, and what denies or hedges them.
WORDS = {
    "Atelectasis": "atelectasis", "Cardiomegaly": "cardiomegaly|cardiac|heart is|heart size|cardiomediastinal",
    "Consolidation": "consolidation", "Edema": "edema", "Lung Lesion": "nodule|mass", "Lung Opacity": "opacity",
    "Enlarged Cardiomediastinum": "mediastinum|mediastinal|aorta|aortic", "Fracture": "osseous|fracture",
    "Pleural Effusion": "pleural effusion|pleural fluid", "Pleural Other": "thickening|fibrosis",
    "Pneumonia": "pneumonia", "Pneumothorax": "pneumothorax", "Support Devices": "pacemaker",
}  # fmt: skip
DENIED = r"\bno\b|\bnot\b|\bwithout\b|is normal|are normal|within normal limits"
HEDGED = r"could|may represent|concerning|possible|question|is likely"


def said(text: str) -> dict[str, int]:
    """Labels of a text by its words: the strongest mention of any sentence."""
    labels: dict[str, int] = {}
    for sentence in re.split(r"(?<=[.;])\s+", text.lower()):
        for name, words in WORDS.items():
            if not (mention := re.search(words, sentence)):
                continue
            denial = re.search(DENIED, sentence)
            denied = denial is not None and (denial.start() < mention.start() or "normal" in denial.group())
            hedged = name != "Lung Opacity" and re.search(HEDGED, sentence) is not None
            mark = 0 if denied else -1 if hedged else 1
            labels[name] = max(labels.get(name, mark), mark, key=(0, -1, 1).index)
    return labels


def test_words_and_negations_agree_with_the_labels() -> None:
    texts: set[str] = set()
    counts: Counter[tuple[str, int]] = Counter()
    for number in range(400):
        rng = np.random.default_rng((1, number))
        names = [name for name in FINDINGS if rng.random() < 0.2]
        entries = [
            SeenFinding(name, float(rng.random()), str(rng.choice(["left", "right", "bilateral"])),
                 str(rng.choice(["upper", "mid", "lower"])), int(rng.integers(1, 4))) for name in names
        ]  # fmt: skip
        device = number % 9 == 0
        report = write_report(entries, rng, device=device)
        labels = {name: mark for name, mark in report.labels.items() if name != "No Finding"}
        assert labels == said(f"{report.findings} {report.impression}"), f"{report.findings} | {report.impression}"
        assert (report.labels.get("No Finding") == 1) == (not names)
        counts.update(labels.items())
        texts.add(report.findings)
        parsed = sections(report_file(report, rng, sex="F", views=["PA", "L"]))
        assert " ".join(report.impression.split()) in " ".join(parsed)
        assert report.findings in " ".join(parsed)
        for entry in entries:
            if entry.name in (EFFUSION, PNEUMOTHORAX):
                assert entry.side in report.findings.lower()
    assert len(texts) > 300, "wording varies"
    for name in ("Pleural Effusion", "Pneumothorax", "Cardiomegaly"):
        assert counts[name, 1] > 40
        assert counts[name, 0] > 100
    assert counts["Pneumonia", -1] > 10
    assert counts["Atelectasis", 1] > 5
    assert counts["Pneumothorax", -1] > 1


def test_a_lateral_image_shows_the_findings_where_they_would_be() -> None:
    def pair(name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        c = replace(case("mimic", SEED, number), grades={name: 0.8})
        image = c.image()
        thorax = image.thorax
        with_it, without = (
            lateral(thorax, findings, np.random.default_rng(1), expose(np.random.default_rng(2)))
            for findings in (image.findings, ())
        )
        return with_it, without

    for number in range(3):
        shown, plain = pair(EFFUSION, number)
        change = np.abs(shown - plain)
        rows, columns = np.indices(change.shape)
        height, width = change.shape
        assert np.average(rows, weights=change) > 0.6 * height, "fluid lies low"
        assert np.average(columns, weights=change) > 0.5 * width, "and at the back"
        shown, plain = pair(NODULE, number)
        change = np.clip(shown - plain, 0, None) > 0.08
        assert change.sum() > 20, "a nodule is a bright spot"
        for name in (OPACITY, FIBROSIS, PNEUMOTHORAX):
            shown, plain = pair(name, number)
            assert 0.001 < np.abs(shown - plain).mean() < 0.12


def test_two_laterals_of_a_study_show_one_patient() -> None:
    c = case("mimic", SEED, 1)
    image = c.image()
    thorax = image.thorax
    first, second = (
        lateral(thorax, image.findings, np.random.default_rng(1), expose(np.random.default_rng(how))) for how in (2, 3)
    )
    other_image = case("mimic", SEED, 2).image()
    other = other_image.thorax
    stranger = lateral(other, other_image.findings, np.random.default_rng(4), expose(np.random.default_rng(3)))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > np.corrcoef(first.ravel(), stranger.ravel())[0, 1]
    assert not np.array_equal(first, second)


def hearts(count: int, grades: dict[str, float] | None = None) -> list[tuple[Heart, np.ndarray]]:
    out = []
    for number in range(count):
        rng = np.random.default_rng((7, number))
        out.append((h := heart(grades or {}, True, rng), ecg(h, rng)))
    return out


@pytest.mark.parametrize("name", ["", CARDIOMEGALY, EFFUSION, PNEUMOTHORAX, OPACITY])
def test_a_beat_detector_finds_the_rate(name: str) -> None:
    for h, signal in hearts(12, {name: 0.8} if name else None):
        beats = detect_heartbeats(scaled(signal)[:, 1].astype(float), RATE)
        assert abs(60 * RATE / np.diff(beats).mean() - h.rate) < 0.03 * h.rate


def test_limb_leads_obey_einthoven_and_goldberger() -> None:
    _, signal = hearts(1)[0]
    one, two, three, avr, avf, avl = signal[:, :6].T
    np.testing.assert_allclose(three, two - one, atol=1e-6)
    np.testing.assert_allclose(avr, -(one + two) / 2, atol=1e-6)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-6)


def test_findings_change_the_ecg_as_they_should() -> None:
    def mean(grades: dict[str, float] | None, of: int, measure: str) -> float:
        return float(np.mean([getattr(np, measure)(signal[:, of]) for _, signal in hearts(20, grades)]))

    ptp = "ptp"
    assert mean({EFFUSION: 0.9}, 1, ptp) < 0.75 * mean(None, 1, ptp), "low voltage"
    assert mean({CARDIOMEGALY: 0.9}, 10, "max") > 1.15 * mean(None, 10, "max"), "tall R in V5"
    assert mean({PNEUMOTHORAX: 0.9}, 0, "max") < 0.6 * mean(None, 0, "max"), "axis to the right: small R in I"
    fast = np.mean([h.rate for h, _ in hearts(20, {OPACITY: 0.9})])
    assert fast > 8 + np.mean([h.rate for h, _ in hearts(20)])


def test_true_findings_predict_ecg_and_labs_but_not_perfectly() -> None:
    cases = [case("symile", SEED, number) for number in range(360)]
    X = np.array(
        [[*(c.grades.get(f, 0.0) for f in FINDINGS), *(f in c.grades for f in FINDINGS)] for c in cases], float
    )
    Y, L = [], []
    for c in cases:
        rng = c.rng(4)
        signal = scaled(ecg(heart(c.grades, False, rng), rng))
        Y.append(np.concatenate([signal.max(0), signal.min(0), signal.std(0)]))
        L.append(labs(c.grades, rng))
    values = np.array(L)
    P = percentiles(values, values[:240])
    known = ~np.isnan(P)
    filled = np.where(known, P, np.nanmean(P[:240], axis=0))
    train, test = slice(0, 240), slice(240, None)
    for name, target, low, high in (("ecg", np.array(Y), 0.1, 0.8), ("labs", filled, 0.03, 0.5)):
        predicted = Ridge(5.0).fit(X[train], target[train]).predict(X[test])
        r2 = r2_score(target[test], predicted, multioutput="raw_values")
        assert low < np.mean(r2) < high, name
    assert np.quantile(P[train][known[train]], [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.01)
    gases = known[:, NAMES.index("pO2")]
    ill = X[:, FINDINGS.index(OPACITY)] + X[:, FINDINGS.index(EFFUSION)] > 0.5
    assert gases[ill].mean() > gases[~ill].mean() + 0.1, "blood gases are taken from the ill"


NEW = {"chexpert": 17, "chexpert-plus": 17, "padchest": 14, "brax": 12}


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretraining")
    phantom.write(out, seed=SEED, images=NEW, workers=1)
    return out


# Of version 5 as it was first drawn, before it was drawn faster; the second one where a processor has no AVX-512, by
# which numpy's sines differ in their last bits, and here so does a pixel.
FROZEN = {"mimic": "b441b1c327ef6fe6", "symile": "9fc05a6ca5cead6b", "lungs": "ddc8fee8e3b7e693",
          "chexpert": "50dc6c34c8a613c8", "chexpert-plus": "b8c60bb7dd634b90", "padchest": "2ef2be9816143b3e",
          "brax": "e0b80e755953de78 913152cd8e2be876"}  # fmt: skip


@pytest.mark.parametrize("name", list(FROZEN))
def test_tables_and_pixels_are_those_of_the_version(written: Path, pretraining: Path, name: str) -> None:
    assert phantom.VERSION == 5
    assert digest((written if name in SMALL else pretraining) / name) in FROZEN[name].split()


def test_a_blank_phantom_has_the_rows_of_the_drawn_one(written: Path, pretraining: Path, tmp_path: Path) -> None:
    phantom.write(tmp_path, seed=SEED, images=SMALL | NEW, workers=1, blank=True)
    for name in (*SMALL, *NEW):
        blank = load_dataset(name, tmp_path, Path)
        assert_same_rows(blank, load_dataset(name, written if name in SMALL else pretraining, Path))
        assert np.ptp(np.asarray(decode(blank.paths()[0]))) == 0


@pytest.mark.parametrize("name", list(NEW))
def test_pretraining_datasets_read_as_the_real_ones(pretraining: Path, name: str) -> None:
    manifest = load_dataset(name, pretraining, lambda: pretraining)
    images = manifest.images
    assert manifest.synthetic
    assert len(set(images["study_id"])) == NEW[name]
    assert set(images["split"]) == {"train", "val", "test"}
    assert {"PA", "AP", "L"} <= set(images["view"])
    assert {1, 2, 3} >= set(images.groupby("study_id").size()) > {1}
    named = images.groupby("study_id")[list(manifest.labels)].nunique(dropna=False)
    assert set(named.to_numpy().ravel()) == {1}
    report = check(manifest)
    assert report.ok
    assert not report.shared_patients
    for path in manifest.paths():
        assert 0.15 < decode(path).mean() < 0.75, "an image of 12 bits in 16 is as bright as any"
    if name in ("chexpert-plus", "padchest"):
        assert manifest.reports is not None
        assert set(manifest.reports["study_id"]) == set(images["study_id"])
        said = manifest.reports["findings"] + " " + manifest.reports["impression"]
        assert said.str.len().min() > 20


def test_labels_are_those_of_the_findings(pretraining: Path) -> None:
    """The truth is the case, not the writer: what is on the image against what the adapters read."""
    words = {CARDIOMEGALY: "Cardiomegaly", PNEUMOTHORAX: "Pneumothorax", EFFUSION: "Pleural Effusion"}
    for name, part in (("chexpert", "chexpert"), ("chexpert-plus", "chexpert"), ("padchest", "padchest")):
        manifest = load_dataset(name, pretraining, lambda: pretraining)
        studies = manifest.study_targets()
        cases = {}
        for number in range(NEW[name]):
            c = case(part, SEED, number)  # type: ignore[arg-type]
            key = f"patient{number + 1:05d}_study1" if part == "chexpert" else str(number_of(c, 10**11))
            cases[key] = c
        assert set(cases) == set(studies.index)
        known = [key for key in cases if not studies.loc[key].isna().all()]
        for finding, label in words.items():
            for key in known:
                value = studies.loc[key, label]
                assert np.isnan(value) or value == (finding in cases[key].grades), (name, key, label)


def test_padchest_images_have_12_14_and_16_bits_of_the_same_image(pretraining: Path) -> None:
    manifest = load_dataset("padchest", pretraining, lambda: pretraining)
    tops = Counter()
    for path in manifest.paths():
        with Image.open(path) as image:
            assert image.mode == "I;16"
            tops[int(np.asarray(image).max()).bit_length()] += 1
    assert set(tops) == {12, 14, 16}


def test_chexpert_plus_is_chexpert_whole(pretraining: Path) -> None:
    plain, plus = (load_dataset(name, pretraining, lambda: pretraining) for name in ("chexpert", "chexpert-plus"))
    assert plain.images["image_id"].tolist() == plus.images["image_id"].tolist()
    for row in (0, 7, 20):
        small, whole = decode(plain.paths()[row]), decode(plus.paths()[row])
        assert min(whole.shape) > min(small.shape)
        size = small.shape[::-1]
        shrunk = np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS))
        assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.99
