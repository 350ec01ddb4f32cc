"""Imports beside the drawing of the phantom."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from cxrbench.engine import importing as module
from cxrbench.engine import job
from cxrbench.engine.importing import importing
from cxrbench.engine.plan import Plan, RunRequest
from cxrbench.phantom import write as phantom
from cxrbench.plugins import memo
from cxrbench.progress import Progress


def test_plugins_are_imported_meanwhile_and_what_fails_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def load(group: str, name: str, what: str) -> None:
        tried.append(name)
        if name == "broken":
            sys.exit(1)

    monkeypatch.setattr(module, "load_plugin", load)
    with importing(["broken", "mine.py:Net", "random:base@3", ":"], tmp_path):
        pass
    assert list(dict.fromkeys(tried)) == ["broken", "mine.py", "random"]


def test_an_interrupt_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(module, "load_plugin", lambda group, name, what: never.wait(20))
    with pytest.raises(KeyboardInterrupt), importing(["pixels"], tmp_path):
        raise KeyboardInterrupt
    assert any(thread.daemon and thread.is_alive() for thread in threading.enumerate())
    never.set()


def test_a_run_draws_all_its_datasets_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that processes are started once."""
    asked: list[list[str]] = []

    def ensure(cache: Path, datasets: list[str], **how: object) -> Path:
        asked.append(sorted(datasets))
        return phantom_folder

    monkeypatch.setattr(phantom, "IMAGES", {"rsna": 12, "siim": 12})
    monkeypatch.setattr(phantom, "cores", lambda: 1)
    phantom_folder = phantom.ensure(tmp_path, ["rsna", "siim"])
    monkeypatch.setattr(phantom, "ensure", ensure)
    tasks = "rsna:classification,siim:classification"
    job.prepare("pixels", tasks, dry_run=False, progress=Progress(), cache=tmp_path, results=tmp_path / "results")
    assert asked[0] == ["rsna", "siim"]


def test_a_run_finds_encoders_built_and_datasets_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "IMAGES", {"rsna": 12, "siim": 12})
    monkeypatch.setattr(phantom, "cores", lambda: 1)
    read: list[str] = []
    known: list[bool] = []

    def make_plan(request: RunRequest) -> Plan:
        request.phantom("rsna")
        known.append(memo.recall(tmp_path, "random", synthetic=True) is not None)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "make_plan", make_plan)
    monkeypatch.setattr(job, "load_dataset", lambda name, *args, **how: read.append(name))
    tasks, cores = "rsna:classification,siim:classification", torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        job.prepare("random", tasks, dry_run=False, progress=Progress(), cache=tmp_path, results=tmp_path / "results")
    assert (read, known) == (["rsna", "siim"], [True])
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == cores
