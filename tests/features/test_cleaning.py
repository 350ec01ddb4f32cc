"""Making room in a cache: oldest use first, never what is being made or in use."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cxrbench import api
from cxrbench.errors import UserError
from cxrbench.features.cleaning import cached, clean
from cxrbench.features.making import locked
from cxrbench.files.npy import write_npy
from cxrbench.progress import Progress
from support.command import cxrbench

DAY = 24 * 3600.0
E, K = "e0123456789ab", "c0123456789ab"  # digests


def write(path: Path, size: int, days: float) -> Path:
    """A file, or an entry's folder with one, last used so many days ago."""
    file = path if path.suffix and path.suffix != ".partial" else path / "rows"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size))
    then = time.time() - days * DAY
    os.utime(file, (then, then))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Six things of 100 bytes, used 60, 50, 40, 30, 20 days ago and now; beside them servants, which are none."""
    root = tmp_path / "cache"
    write(root / "features" / "aa" / "aaold", 100, 60)
    write(root / "dense" / "bb" / "bbmaps", 100, 50)
    write(root / "phantom-v3" / "siim", 100, 40)
    write(root / "evaluations" / f"{E}.parquet", 100, 30)
    write(root / "pretraining" / f"{K}.u8", 60, 90)
    write(root / "pretraining" / f"{K}.json", 40, 20)
    write(root / "features" / "cc" / "ccnow", 100, 0)
    write(root / "features" / "aa" / "aaold.lock", 0, 60)
    write(root / "features" / "cc" / "ccnow.lock.1", 0, 60)
    return root


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """As whoever makes an entry holds it."""
    with locked(folder, "", Progress()):
        yield


def left(root: Path) -> set[str]:
    return {one.path.name for one in cached(root)}


def test_what_is_in_it_comes_in_the_order_of_its_use(cache: Path) -> None:
    """A file and its record are one thing, used when either was."""
    found = cached(cache)
    assert [one.path.name for one in found] == ["aaold", "bbmaps", "siim", f"{E}.parquet", f"{K}.json", "ccnow"]
    assert [one.bytes for one in found] == [100] * 6


def test_what_was_not_used_for_long_goes_and_what_is_in_use_never(cache: Path) -> None:
    done = clean(cache, older=35 * DAY, limit=None)
    assert [(one.path.name, one.fate) for one in done.items] == [
        ("aaold", "deleted"), ("bbmaps", "deleted"), ("siim", "deleted"),
    ]  # fmt: skip
    assert (done.before, done.after) == (600, 300)
    assert left(cache) == {f"{E}.parquet", f"{K}.json", "ccnow"}
    assert [one.fate for one in clean(cache, older=0.0, limit=0).items][-1] == "in use"
    assert left(cache) == {"ccnow"}


def test_a_limit_takes_the_oldest_and_no_more_than_it_must(cache: Path) -> None:
    dry = clean(cache, older=None, limit=350, dry_run=True)
    assert left(cache) == {"aaold", "bbmaps", "siim", f"{E}.parquet", f"{K}.json", "ccnow"}
    done = clean(cache, older=None, limit=350)
    assert [one.path for one in done.items] == [one.path for one in dry.items]
    assert left(cache) == {f"{E}.parquet", f"{K}.json", "ccnow"}
    assert done.after == dry.after == 300


def test_an_entry_that_is_being_made_stays_and_an_abandoned_one_goes(cache: Path) -> None:
    """Both look alike on the disk, and long untouched: only the first one's maker holds its lock."""
    making, abandoned = (cache / "features" / "dd" / name for name in ("dd-making", "dd-abandoned"))
    for folder in (making, abandoned):
        write(folder.with_suffix(".partial"), 10, 80)
    with held(making):
        fates = {one.path.name: one.fate for one in clean(cache, older=70 * DAY, limit=None).items}
    assert fates == {"dd-making": "being made", "dd-abandoned": "deleted"}
    assert making.with_suffix(".partial").is_dir()
    assert not abandoned.with_suffix(".partial").exists()


def test_parts_of_an_entry_are_in_use_while_one_of_them_is_made(cache: Path) -> None:
    """A part that was finished long ago waits for the others."""
    for name, days in (("ee-going", (80, 0)), ("ee-given-up", (80, 75))):
        for number, age in enumerate(days):
            write(cache / "features" / "ee" / f"{name}.parts" / f"batch8-{number}-{number + 1}", 10, age)
    done = clean(cache, older=70 * DAY, limit=None).items
    assert {one.path.parent.name for one in done if one.fate == "deleted"} == {"ee-given-up.parts"}
    assert len(list((cache / "features" / "ee" / "ee-going.parts").iterdir())) == 2


def test_unfinished_files_are_left_to_who_writes_them_for_a_day(cache: Path) -> None:
    write(cache / "pretraining" / f".{K}.json.0123.tmp", 5, 0.5)
    write(cache / "pretraining" / f"1{K}.part", 5, 0.5)
    write(cache / "pretraining" / f"2{K}.part", 5, 2)
    fates = {one.path.name: one.fate for one in clean(cache, older=0.1 * DAY, limit=None).items}
    assert [fates[name] for name in (f".{K}.json.0123.tmp", f"1{K}.part", f"2{K}.part")] == [
        "being made",
        "being made",
        "deleted",
    ]


def test_what_is_not_ours_stays_whatever_is_called_a_cache(cache: Path, tmp_path: Path) -> None:
    """Somebody's home, a checkout with folders of our names, and links to what lies elsewhere."""
    strangers = [
        write(cache / name, 100, 900)
        for name in ("notes.md", ".ssh/id.key", "encoders/mae.py", "manifests/own.csv", "features/aa/precious",
                     "features/model/modelled", "phantom-viewer/app/x.py", "evaluations/2024.parquet")
    ]  # fmt: skip
    elsewhere = write(tmp_path / "elsewhere" / "data", 100, 900)
    links = [cache / name for name in ("phantom-v3/nih", "features/aa/aalink", "evaluations/0123456789abcdef.parquet")]
    for link, target in zip(links, [elsewhere, elsewhere, elsewhere / "rows"], strict=True):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    done = clean(cache, older=10 * DAY, limit=0)
    assert (done.before, done.after) == (600, 100)
    assert all(path.exists() for path in strangers)
    assert all(link.is_symlink() and link.exists() for link in links)
    assert (elsewhere / "rows").stat().st_size == 100


@pytest.mark.parametrize("of_results", ["cells", "aggregates"])
def test_a_results_folder_that_is_called_a_cache_loses_nothing(cache: Path, of_results: str) -> None:
    """Its encoders/ and manifests/ hold files with digests in their names, too."""
    kept = write(cache / "manifests" / f"clinic-{K}.parquet", 100, 60)
    (cache / of_results).mkdir()
    with pytest.raises(UserError, match="holds results"):
        api.clean_cache(cache, older="1d")
    assert kept.exists()


def test_what_was_cleaned_is_made_again(cache: Path) -> None:
    write_npy(cache / "arrays" / "a.npy", np.arange(3))
    assert clean(cache, older=None, limit=0).items[-1].fate in ("in use", "deleted")
    assert cache.is_dir()


def test_the_command_says_what_went_and_what_would(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("cache", "clean", "--cache", str(cache), "--older", "45d")
    code, out, _ = cxrbench(monkeypatch, capsys, *words, "--dry-run")
    assert (code, out.count("would be deleted: ")) == (0, 2)
    assert "would free 200 B: 600 B before, 400 B after" in out
    code, out, _ = cxrbench(monkeypatch, capsys, *words, "--limit", "350B")
    assert (code, out.count("deleted: ")) == (0, 3)
    assert "dense maps, 100 B, used 50 days ago" in out
    code, out, _ = cxrbench(monkeypatch, capsys, "cache", "show", "--cache", str(cache))
    assert "300 B in all" in out
    code, _, err = cxrbench(monkeypatch, capsys, "cache", "clean", "--cache", str(cache))
    assert (code, "give --older 30d" in err) == (2, True)
    for option, value in (("--older", "30"), ("--limit", "many")):
        code, _, err = cxrbench(monkeypatch, capsys, "cache", "clean", "--cache", str(cache), option, value)
        assert (code, f"{option} '{value}'" in err) == (2, True)
    with pytest.raises(UserError, match="no cache folder"):
        api.cached(cache / "nowhere")
