"""Two encoders that differ in anything are two encoders, and one encoder is the same wherever it is built."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from cxrbench.encoder import EncoderRequest
from cxrbench.engine.registry import load_encoder
from cxrbench.plugins.identity import files_sha256
from cxrbench.plugins.loading import LoadedEncoder, fixed_batch, fixed_features
from cxrbench.plugins.sources import source_files
from support.user_encoder import RESPECTS, draw

PAIRS_PER_RESPECT = 3


def load(spec: str) -> LoadedEncoder:
    return load_encoder(spec, synthetic=False)


@pytest.mark.parametrize("respect", RESPECTS)
def test_a_difference_in_one_respect_is_another_fingerprint(respect: str, tmp_path: Path) -> None:
    change, expected = RESPECTS[respect]
    rng = random.Random(respect)
    for number in range(PAIRS_PER_RESPECT):
        one = draw(rng)
        first = load(one.write(tmp_path / f"first{number}")).spec
        same = load(one.write(tmp_path / "elsewhere" / f"same{number}")).spec
        other = load(change(one, rng).write(tmp_path / f"other{number}")).spec
        assert same.fingerprint == first.fingerprint
        assert other.fingerprint != first.fingerprint
        assert {part for part, value in first.parts.items() if other.parts[part] != value} == expected


SCRIPT = """
import sys, torch
from cxrbench.engine.registry import load_encoder
torch.set_num_threads(int(sys.argv[1]))
for spec in sys.argv[2:]:
    print(load_encoder(spec, synthetic=True).spec.fingerprint)
"""


def test_fingerprints_agree_across_processes_hash_seeds_threads_and_batch_sizes(tmp_path: Path) -> None:
    rng = random.Random(0)
    specs = [draw(rng).write(tmp_path / f"e{number}") for number in range(4)]
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, "3", *specs]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    threads, here = torch.get_num_threads(), []
    for spec in specs:
        loaded = load_encoder(spec, synthetic=True)
        here.append(loaded.spec.fingerprint)
        images = fixed_batch(loaded.module.preprocess)
        fixed = fixed_features(loaded)
        try:
            for count, batch in ((1, images[:1]), (2, images.repeat(3, 1, 1, 1))):
                torch.set_num_threads(count)
                torch.testing.assert_close(
                    loaded.module(batch).pooled[0], torch.from_numpy(fixed.pooled[0]), rtol=0, atol=1e-5
                )
                assert fixed_features(loaded).difference(fixed) is None
        finally:
            torch.set_num_threads(threads)
        assert load_encoder(spec, synthetic=True).spec.fingerprint == here[-1]
    assert process.communicate()[0].split() == here
    assert len(set(here)) == len(here)


def test_each_file_gets_its_own_helper_of_the_same_name_as_it_is_on_disk(tmp_path: Path) -> None:
    one = draw(random.Random(0))
    one = replace(one, settings=one.settings | {"mode": "mean"})
    specs = [
        one.write(tmp_path / "a"),
        replace(one, helper="def pool(x):\n    return x.amax((2, 3))\n").write(tmp_path / "b"),
    ]
    mean, most = (fixed_features(load(spec)) for spec in specs)
    assert (fixed_features(load(specs[0])).pooled == mean.pooled).all()
    assert (most.pooled >= mean.pooled).all()
    assert most.difference(mean) is not None
    (tmp_path / "a" / "helper.py").write_text((tmp_path / "b" / "helper.py").read_text())
    assert (fixed_features(load(specs[0])).pooled == most.pooled).all()


def test_what_is_imported_late_or_by_name_counts_and_what_is_not_imported_does_not(tmp_path: Path) -> None:
    one = draw(random.Random(1))
    late = "from importlib import import_module\ndef pool(x):\n    from late import f\n    import_module('named')\n"
    one = replace(one, helper=late, settings=one.settings | {"mode": "first"},
                  files={"late.py": "f = 1\n", "named.py": "", "beside.py": ""})  # fmt: skip
    before = load(one.write(tmp_path / "before")).spec
    for file, differs in (("late.py", True), ("named.py", True), ("beside.py", False)):
        other = replace(one, files=one.files | {file: "f = 2\n"})
        assert (load(other.write(tmp_path / file)).spec.fingerprint != before.fingerprint) == differs


def test_a_plugin_s_package_counts_and_libraries_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "site-packages"
    (packages / "theirs").mkdir(parents=True)
    texts = {
        "theirs/__init__.py": "import torch, a_library\nfrom cxrbench.encoder import Features, Preprocess\n"
        "from theirs.helper import pool\nclass E(torch.nn.Module):\n    preprocess = Preprocess(size=8)\n"
        "    def forward(self, x):\n        return Features(pool(x))\n",
        "theirs/helper.py": "def pool(x):\n    return x.mean((2, 3))\n",
        "a_library.py": "",
    }
    info = packages / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("theirs\n")
    (info / "entry_points.txt").write_text("[cxrbench.encoders]\ntheirs = theirs:E\n")
    monkeypatch.syspath_prepend(str(packages))
    modules = ("theirs", "theirs.helper", "a_library")
    for name in modules:
        monkeypatch.setitem(sys.modules, name, sys)  # undone in the end: the next test has no such package

    def source(**changed: str) -> str:
        for file, text in texts.items():
            (packages / file).write_text(text + changed.get(Path(file).stem, ""))
        for name in modules:
            sys.modules.pop(name, None)
        return load("theirs").spec.source_sha256

    before = source()
    assert source(helper="# edited\n") != before
    assert source(a_library="# edited\n") == before


def test_a_module_of_a_recorded_library_brings_none_of_its_files() -> None:
    """All of torch was read for a ``nn.Sequential``: half a minute, for what its recorded version says."""
    for cls in (nn.Sequential, torch.jit.ScriptModule, torchvision.models.ResNet):
        assert source_files(cls, {cls, nn.Linear}) == []


def test_the_files_behind_a_spec(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"a": 1, "b": [2]}))
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "sub" / "more.bin").write_bytes(b"y")
    weights, variant = EncoderRequest("m", None, str(folder)), EncoderRequest("hf", str(folder), None)
    before = files_sha256(weights), files_sha256(variant)
    (folder / "config.json").write_text(json.dumps({"b": [2], "a": 1}, indent=3))
    (folder / "README.md").write_text("about it")
    assert files_sha256(variant) == before[1]
    assert files_sha256(weights) != before[0]
    (folder / "config.json").write_text(json.dumps({"a": 1, "b": [3]}))
    assert files_sha256(variant) != before[1]
    inner = files_sha256(weights)
    (folder / "sub" / "more.bin").write_bytes(b"z")
    assert files_sha256(weights) != inner
    assert files_sha256(EncoderRequest("random", None, "0")) == ""
