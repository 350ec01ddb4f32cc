"""Every question of the Python face, asked once of a tiny dataset: data come back, nothing is printed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import cxrbench
from cxrbench import api
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.errors import UserError
from cxrbench.phantom import write as phantom
from cxrbench.progress import Advance
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")
TINY: dict[str, Any] = {"arch": "nano-32", "batch_size": 4, "epochs": 1, "accelerator": "cpu", "precision": "32"}


class Watched:
    """A bar that keeps what it was told last, by what was being done; open ones are not there yet."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int]] = {}

    @contextmanager
    def bar(self, what: str) -> Iterator[Advance]:
        told: list[tuple[int, int]] = []
        yield lambda done, total: told.append((done, total))
        self.last[what] = told[-1]


def test_a_dataset_is_checked_and_copied(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    report = cxrbench.check_dataset(str(dataset), bar=watched.bar)
    assert (report.ok, report.images, report.decoded, watched.last) == (True, 120, 120, {"checking clinic": (120, 120)})
    assert "unreadable files: 0 of 120 decoded" in str(report)
    assert api.check_dataset(str(dataset), max_pixels=100, decode=True).ok is False
    copy = api.prepare_copy(str(dataset), tmp_path / "fast", size=16, bar=watched.bar)
    assert (copy.images, copy.made, watched.last["preparing clinic"]) == (120, 120, (120, 120))
    assert api.own_datasets(tmp_path / "fast", {"rsna"}) == [("clinic", "a prepared copy")]
    assert api.own_datasets(tmp_path / "fast", {"clinic"}) == []
    assert len(cxrbench.load_dataset("clinic", data=tmp_path / "fast")) == 120
    assert capsys.readouterr().out == ""


def test_what_is_in_the_cache_is_not_taken_for_what_is_there(dataset: Path) -> None:
    """A check reads again; reading a dataset for a run may take what was kept."""
    cxrbench.load_dataset(str(dataset))
    kept = list(Path("cache").rglob("*.parquet"))
    assert kept
    for path in kept:
        path.write_bytes(b"nothing of use")
    assert cxrbench.check_dataset(str(dataset), decode=False).images == 120
    assert [path.read_bytes() for path in kept] == [b"nothing of use"] * len(kept)


def test_a_phantom_is_drawn_with_a_bar_and_by_the_names_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"siim": 8})
    monkeypatch.setattr(phantom, "cores", lambda: 1)
    watched = Watched()
    assert len(cxrbench.load_dataset("siim", bar=watched.bar)) == 8
    api.write_phantom(tmp_path / "own", images={"rsna": 8}, bar=watched.bar)
    assert (sorted(path.name for path in (tmp_path / "own").glob("[a-z]*")), watched.last) == (
        ["rsna"], {"phantom images": (8, 8)},
    )  # fmt: skip
    for wrong in ({"rnsa": 8}, {"rsna": -1}):
        with pytest.raises(UserError, match=r"there are no -?\d phantom images of"):
            api.write_phantom(tmp_path / "own", images=wrong)


def test_pretraining_gives_an_encoder(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = cxrbench.pretrain("spcl", [str(dataset)], **TINY)
    assert weights == Path("runs/spcl/encoder.safetensors")
    assert capsys.readouterr().out == ""
    facts = api.describe(f"spcl@{weights}")
    module: Any = cxrbench.load_encoder(f"spcl@{weights}")
    assert facts["parameters"] == sum(p.numel() for p in module.parameters())
    code, out, _ = command(monkeypatch, capsys, "encoders", "info", f"spcl@{weights}", "--json")
    assert (code, json.loads(out)) == (0, json.loads(json.dumps(facts)))
    assert "ratio" in api.method_options("spcl")


def test_the_settings_of_pretraining_are_those_of_its_engine() -> None:
    engine = get_type_hints(PretrainConfig)
    assert get_type_hints(api.PretrainSettings) == {name: kind for name, kind in engine.items() if name != "method"}


def test_calibration_is_the_same_as_on_the_command_line(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cxrbench.run("pixels", f"{dataset}:classification", precision="fp32")
    given = cxrbench.calibration(methods=["temperature"], replicates=100)
    words = ["calibration", "--method", "temperature", "--replicates", "100"]
    assert command(monkeypatch, capsys, *words) == (0, str(given), "")
    assert command(monkeypatch, capsys, *words, "--format", "csv")[1] == given.text("csv")
    assert {record.method for record in given.report.records} == {"as given", "temperature"}
    assert [path.exists() for path in given.draw(Path("pictures"))]
    found = api.find_cell("clinic:classification", encoder="pixels")
    manifest = api.find_manifest(found, cell="clinic:classification")
    assert (found.labels, manifest.root) == (manifest.labels, dataset.parent)
    watched = Watched()
    verdicts = api.verify(bar=watched.bar)
    assert {verdict.condition for verdict in verdicts} == {"whole"}
    assert watched.last["files"][1] == len(verdicts)


def test_what_is_installed_has_a_line_each() -> None:
    for lines, one in (
        (api.list_encoders(), "imagenet"), (api.list_datasets(), "vindr"), (api.list_tasks(), "knn"),
    ):  # fmt: skip
        assert one in {line.name for line in lines}
        assert [line.problem for line in lines if line.problem] == []


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: api.leaderboard(spread="se"), "interval or sd, not 'se'"),  # type: ignore[arg-type]
        (lambda: cxrbench.calibration(methods=["platt"]), "temperature or isotonic, not 'platt'"),  # type: ignore[list-item]
        (lambda: api.prepare_copy("x", Path("y"), on_bad_image="drop"), "error or skip, not 'drop'"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", "rsna", precision="16"), "auto, 32 or bf16, not '16'"),  # type: ignore[arg-type]
        (lambda: cxrbench.pretrain("spcl", " , "), "names no dataset"),
        (lambda: cxrbench.pretrain("spcI", "rsna"), "did you mean 'spcl'"),
        (lambda: cxrbench.check_dataset("rnsa"), "did you mean 'rsna'"),
        (lambda: api.verify("nowhere"), "no results folder nowhere"),
        (lambda: api.verify(".", cache=Path("nowhere")), "no cache folder nowhere"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_anything_is_read(ask: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ask()
    assert "\n" not in str(caught.value)
    assert not list(Path("cache").glob("phantom*"))
