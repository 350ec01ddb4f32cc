"""What ``new`` writes passes its own tests, is installed, listed and run."""

import json
import site
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import cxrbench
from cxrbench.api import list_datasets, list_encoders, list_tasks, new_plugin
from cxrbench.errors import UserError
from cxrbench.kit.new import PluginKind
from support.command import cxrbench as command

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path) -> Iterator[None]:
    """Packages that a test has written and imported are not imported for any other one."""
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package importable and its entry points known, as an editable install does."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in of.items()) for group, of in groups]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))


def own_tests(folder: Path) -> int:
    """The exit code of the package's own tests, run in this process."""
    words = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", "/dev/null", f"--rootdir={folder}"]
    return int(pytest.main([*words, str(folder)]))


@pytest.mark.parametrize("text", [False, True])
def test_an_encoder_passes_its_own_test_and_the_check(text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "with-text" if text else "without"
    module = name.replace("-", "_")
    written = new_plugin("encoder", name, text=text)
    assert [path.name for path in written] == ["pyproject.toml", "README.md", f"{module}.py", f"test_{module}.py"]
    seen(Path(name), monkeypatch)
    if text:
        assert own_tests(Path(name)) == 0
    report = cxrbench.check_encoder(name)
    assert [(one.check, one.state) for one in report.checks if one.state != "pass"] == []
    said = {one.check: one.found for one in report.checks}
    assert said["maps' strides"] == "strides 4, 8, 16, 32 of 224 pixels"
    assert ("256 numbers per text" in said["text tower"]) is text


def test_an_encoder_is_installed_listed_and_run(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installed as editable, from the folder above: ``theirs`` is there a folder as well, which Python could import."""
    code, out, err = command(monkeypatch, capsys, "encoders", "new", "theirs")
    assert (code, "Next: pip install -e theirs" in out) == (0, True), err
    build = "from setuptools.build_meta import build_editable; print(build_editable('..'))"
    built = subprocess.run([sys.executable, "-c", build], cwd="theirs", check=True, capture_output=True, text=True)
    zipfile.ZipFile(built.stdout.split()[-1]).extractall("site")
    monkeypatch.syspath_prepend(str(Path("site").absolute()))
    site.addsitedir("site")
    monkeypatch.syspath_prepend("")
    listed = {line.name: line for line in list_encoders()}["theirs"]
    assert (listed.summary, listed.problem) == ("A small convolutional network, to be replaced by your own.", "")
    task = f"{dataset}:classification"
    code, out, _ = command(monkeypatch, capsys, "run", "--encoder", "theirs", "--tasks", task, "--json")
    row = json.loads(out)[0]
    assert (code, row["encoder"], row["metric"], row["value"] > 0.5) == (0, "theirs", "AUROC", True)


def test_a_protocol_passes_its_own_test_and_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    new_plugin("task", "mean-of-two")
    seen(Path("mean-of-two"), monkeypatch)
    assert own_tests(Path("mean-of-two")) == 0
    listed = {line.name: line for line in list_tasks()}["mean-of-two"]
    assert listed.summary.startswith("nearest mean of two classes on frozen embeddings")


def test_a_data_set_passes_its_own_test_and_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    new_plugin("data", "their-hospital")
    seen(Path("their-hospital"), monkeypatch)
    assert own_tests(Path("their-hospital")) == 0
    listed = {line.name: line for line in list_datasets()}["their-hospital"]
    assert (listed.summary, listed.problem) == ("their-hospital (say what it is)", "")


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("encoder", "My Encoder", "cannot be a plugin's name"),
        ("encoder", "imagenet", "is installed already"),
        ("task", "knn", "is installed already"),
        ("encoder", "torch", "would shadow Python's module torch"),
        ("data", "import", "would shadow Python's module import"),
        ("data", "here", "is there already"),
    ],
)
def test_names_that_cannot_be_had(kind: PluginKind, name: str, why: str) -> None:
    Path("here").mkdir()
    with pytest.raises(UserError, match=why) as error:
        new_plugin(kind, name)
    assert "\n" not in str(error.value)
    assert [path.name for path in Path.cwd().iterdir() if path.is_dir() and path.name not in ("here", "clinic")] == []
