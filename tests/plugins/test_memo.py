"""What is remembered of an encoder holds as long as nothing that decided it has changed, and not a moment longer."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrbench.engine import plan
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_metadata, read_state_dict, write_weights
from cxrbench.plugins import memo, stamps
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.loading import LoadedEncoder, fixed_features


def learn(cache: Path, spec: str) -> tuple[LoadedEncoder, FixedFeatures]:
    loaded = load_encoder(spec, synthetic=True)
    fixed = fixed_features(loaded)
    memo.remember(cache, loaded, fixed, synthetic=True)
    return loaded, fixed


def change_a_weight(path: Path) -> None:
    """Another sound file in its place, with the same card: one weight is another, and the seal fits again."""
    state = read_state_dict(path)
    first = next(iter(state.values()))
    first.view(-1)[0] = -first.view(-1)[0]
    write_weights(path, state, read_metadata(path))


def test_what_is_known_is_what_building_it_would_tell(tmp_path: Path) -> None:
    loaded, fixed = learn(tmp_path, "spcl")
    known = memo.recall(tmp_path, "spcl", synthetic=True)
    assert known is not None
    assert (known.spec, known.preprocess) == (loaded.spec, loaded.module.preprocess)
    np.testing.assert_array_equal(known.fixed.pooled, fixed.pooled)
    assert known.fixed.change(fixed) == 0
    assert memo.recall(tmp_path, "spcl", synthetic=False) is None
    assert memo.recall(tmp_path, "mae", synthetic=True) is None


def test_a_changed_file_library_or_memo_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "encoder.safetensors"
    shutil.copy(next(Path(p) for p in load_encoder("spcl", synthetic=True).reads or ()), weights)
    spec, cache = f"spcl@{weights}", tmp_path / "cache"
    learn(cache, spec)
    assert memo.recall(cache, spec, synthetic=True) is not None
    with monkeypatch.context() as patch:
        patch.setattr(memo, "installed_versions", lambda: {"torch": "9"})
        assert memo.recall(cache, spec, synthetic=True) is None
    change_a_weight(weights)
    assert memo.recall(cache, spec, synthetic=True) is None
    learn(cache, spec)
    (file,) = (cache / "encoders").glob("*.json")
    for damage in ("{", "[]", '{"stamps": 3}', file.read_text()[:-40]):
        file.write_text(damage)
        assert memo.recall(cache, spec, synthetic=True) is None


def test_a_user_s_file_is_never_remembered(encoder: str, tmp_path: Path) -> None:
    learn(tmp_path / "cache", encoder)
    assert not (tmp_path / "cache").exists()


def test_a_stamp_sees_small_files_whole_and_big_ones_by_time_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "SMALL", 100)
    monkeypatch.setattr(stamps, "BLOCK", 4)
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_bytes(b"x" * 50)
    big.write_bytes(bytes(range(200)) * 5)
    before = [stamps.stamp(path) for path in (small, big)]
    small.write_bytes(b"x" * 50)
    assert all(map(stamps.holds, before))
    big.write_bytes(big.read_bytes())
    assert [stamps.holds(one) for one in before] == [True, False]  # written again: not all of it was read
    small.write_bytes(b"x" * 49 + b"y")
    assert not stamps.holds(before[0])
    small.unlink()
    assert not stamps.holds(before[0])


def test_an_encoder_that_is_another_when_it_is_loaded_is_forgotten(tmp_path: Path) -> None:
    weights = tmp_path / "encoder.safetensors"
    shipped = {name: next(iter(load_encoder(name, synthetic=True).reads or ())) for name in ("spcl", "mae")}
    shutil.copy(shipped["spcl"], weights)
    spec, cache = f"spcl@{weights}", tmp_path / "cache"
    learn(cache, spec)
    known = memo.recall(cache, spec, synthetic=True)
    assert known is not None
    ref = plan.EncoderRef(known.spec, known.preprocess, True, known.fixed, cache=cache)
    assert ref.load() is not None
    change_a_weight(weights)
    with pytest.raises(UserError, match=r"not the same when it is built again \(encoder weights, encoder files\)"):
        ref.load()
    assert not list((cache / "encoders").glob("*.json"))


def test_modules_of_the_plan_s_path_do_not_import_torch_themselves() -> None:
    for module in (memo, stamps, plan, *(sys.modules[f"cxrbench.plugins.{m}"] for m in ("fixed_images", "specs"))):
        assert "torch" not in vars(module), module
