"""Images decoded once, for training: interrupted, unreadable, mended."""

import json
from pathlib import Path

import numpy as np
import pytest

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.pretraining.engine import prepared
from cxrbench.encoders.pretraining.engine.prepared import as_gray, prepare_images, training_rows
from cxrbench.errors import BadImageError, UserError
from support.flips import unnoticed
from support.small_run import GRAY, make_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "data").mkdir()
    return make_manifest(tmp_path / "data")


def counting(monkeypatch: pytest.MonkeyPatch, stop_at: int = 0) -> list[str]:
    """Names of the files that are decoded; the ``stop_at``-th is interrupted."""
    seen: list[str] = []
    decode = prepared.load_image

    def load(path: Path, *arguments: object) -> object:
        seen.append(path.name)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        return decode(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared, "load_image", load)
    return seen


@pytest.mark.parametrize("bad", [False, True])
def test_what_was_decoded_before_an_interruption_is_kept(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: bool
) -> None:
    if bad:
        (tmp_path / "data" / "03.png").write_bytes(b"\x89PNG not really")
    rows = training_rows([manifest])
    whole = prepare_images(rows, GRAY, tmp_path / "whole", on_bad_image="skip")
    monkeypatch.setattr(prepared, "SAVED_EVERY", 2)
    with monkeypatch.context() as patch:
        counting(patch, stop_at=8)
        with pytest.raises(KeyboardInterrupt):
            prepare_images(rows, GRAY, tmp_path / "cut", on_bad_image="skip")
    seen = counting(monkeypatch)
    again = prepare_images(rows, GRAY, tmp_path / "cut", on_bad_image="skip")
    assert seen == [f"{k:02}.png" for k in range(6, 14)]
    assert again.dropped == whole.dropped
    np.testing.assert_array_equal(again.images(np.arange(len(whole))), whole.images(np.arange(len(whole))))
    assert sorted(path.suffix for path in (tmp_path / "cut").iterdir()) == [".json", ".u8"]


def test_an_image_that_was_left_out_is_asked_for_again_where_none_may_be(manifest: Manifest, tmp_path: Path) -> None:
    good = (tmp_path / "data" / "03.png").read_bytes()
    (tmp_path / "data" / "03.png").write_bytes(b"\x89PNG not really")
    rows, cache = training_rows([manifest]), tmp_path / "cache"
    assert len(prepare_images(rows, GRAY, cache, on_bad_image="skip")) == 13
    with pytest.raises(BadImageError, match=r"03\.png"):
        prepare_images(rows, GRAY, cache)
    (tmp_path / "data" / "03.png").write_bytes(good)
    assert len(prepare_images(rows, GRAY, cache)) == 14
    record = next(cache.glob("*.json"))
    assert json.loads(record.read_text())["dropped"] == []


def test_a_cache_that_cannot_be_written_is_one_line(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        prepare_images(training_rows([manifest]), GRAY, tmp_path / "file" / "cache")


def test_a_flipped_bit_in_prepared_images_or_their_record_is_noticed(manifest: Manifest, tmp_path: Path) -> None:
    made = prepare_images(training_rows([manifest]), GRAY, tmp_path / "cache")
    for path in (made.path, made.path.with_suffix(".json")):
        found = unnoticed(path, lambda: prepared._dropped(made.path, 14, as_gray(GRAY)) is not None, 40)
        assert found == []


@pytest.mark.parametrize("harm", ["flipped", "cut", "lost", "record lost", "record of another version"])
def test_damaged_prepared_images_are_decoded_again_and_said(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    rows, cache = training_rows([manifest]), tmp_path / "cache"
    made = prepare_images(rows, GRAY, cache)
    whole, record = made.images(np.arange(14)), made.path.with_suffix(".json")
    content = made.path.read_bytes()
    if harm == "flipped":
        made.path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif harm == "cut":
        made.path.write_bytes(content[:-1])
    elif harm == "lost":
        made.path.unlink()
    elif harm == "record lost":
        record.unlink()
    else:
        record.write_text(json.dumps({"dropped": []}))
    seen = counting(monkeypatch)
    np.testing.assert_array_equal(prepare_images(rows, GRAY, cache).images(np.arange(14)), whole)
    assert len(seen) == 14
    assert ("decoded again" in capsys.readouterr().err) == (harm != "record lost")


def test_a_kill_between_the_renaming_and_the_record_loses_nothing(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, real = training_rows([manifest]), prepared.os.replace
    whole = prepare_images(rows, GRAY, tmp_path / "whole")

    def killed(source: Path, target: Path) -> None:
        real(source, target)
        if Path(target).suffix == ".u8":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_images(rows, GRAY, tmp_path / "cut")
    seen = counting(monkeypatch)
    again = prepare_images(rows, GRAY, tmp_path / "cut")
    assert seen == []
    np.testing.assert_array_equal(again.images(np.arange(14)), whole.images(np.arange(14)))


@pytest.mark.parametrize("name", [".part", ".part.json"])
def test_what_was_left_half_and_was_damaged_since_is_not_gone_on_with(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rows = training_rows([manifest])
    whole = prepare_images(rows, GRAY, tmp_path / "whole").images(np.arange(14))
    monkeypatch.setattr(prepared, "SAVED_EVERY", 2)
    with monkeypatch.context() as patch:
        counting(patch, stop_at=8)
        with pytest.raises(KeyboardInterrupt):
            prepare_images(rows, GRAY, tmp_path / "cut")
    (path,) = (tmp_path / "cut").glob(f"*{name}")
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    seen = counting(monkeypatch)
    np.testing.assert_array_equal(prepare_images(rows, GRAY, tmp_path / "cut").images(np.arange(14)), whole)
    assert len(seen) == 14
