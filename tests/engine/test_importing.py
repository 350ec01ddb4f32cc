"""Imports beside the drawing of the phantom."""

import sys
import threading
from pathlib import Path

import pytest

from cxrbench.engine import importing as module
from cxrbench.engine import job
from cxrbench.engine.importing import importing
from cxrbench.phantom import write as phantom
from cxrbench.progress import Progress


def test_plugins_are_imported_meanwhile_and_what_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def load(group: str, name: str, what: str) -> None:
        tried.append(name)
        if name == "broken":
            sys.exit(1)

    monkeypatch.setattr(module, "load_plugin", load)
    with importing(["broken", "mine.py:Net", "random:base@3", ":"]):
        pass
    assert tried == ["broken", "mine.py", "random"]


def test_an_interrupt_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(module, "load_plugin", lambda group, name, what: never.wait(20))
    with pytest.raises(KeyboardInterrupt), importing(["pixels"]):
        raise KeyboardInterrupt
    assert any(thread.daemon and thread.is_alive() for thread in threading.enumerate())
    never.set()


def test_a_run_draws_all_its_datasets_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that processes are started once."""
    asked: list[list[str]] = []

    def ensure(cache: Path, datasets: list[str], progress: object) -> Path:
        asked.append(sorted(datasets))
        return phantom_folder

    monkeypatch.setattr(phantom, "IMAGES", {"rsna": 12, "siim": 12})
    monkeypatch.setattr(phantom, "cores", lambda: 1)
    phantom_folder = phantom.ensure(tmp_path, ["rsna", "siim"])
    monkeypatch.setattr(phantom, "ensure", ensure)
    tasks = "rsna:classification,siim:classification"
    job.prepare("pixels", tasks, dry_run=False, progress=Progress(), cache=tmp_path, results=tmp_path / "results")
    assert asked[0] == ["rsna", "siim"]
