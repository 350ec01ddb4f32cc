"""Prepared copies: as reading the original and resizing; interrupted, moved, damaged, refused."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.annotations.rescaling import fitted, nearest, scaled_boxes
from cxrbench.data.decode.arrays import read_ecg
from cxrbench.data.decode.images import decode, use_decoded
from cxrbench.data.manifest import MAX_METADATA, Manifest
from cxrbench.data.prepared import files as prepared_files
from cxrbench.data.prepared.copy import MANIFEST, prepare, read_prepared
from cxrbench.engine.registry import load_dataset
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.turns import turn
from support.layouts import rsna, siim, write_symile
from support.mask_layouts import cxlseg

RNG = np.random.default_rng(0)


def no_phantom() -> Path:
    raise AssertionError("a data folder is given")


def write_csv(folder: Path, count: int = 12, *, masks: bool = False) -> Path:
    """Images of several formats and sizes, 8 and 16 bits, wide and high; every other with a mask of two classes."""
    folder.mkdir(parents=True)
    lines = [f"image,patient,effusion{',mask' if masks else ''}"]
    for n in range(count):
        height, width = 40 + 3 * n, 90 - 4 * n
        smooth = np.add.outer(np.sin(np.arange(height) / 5), np.cos(np.arange(width) / (3 + n))) / 4 + 0.5
        deep = n % 3 == 1
        pixels = (smooth * (4095 if deep else 255)).astype(np.uint16 if deep else np.uint8)
        name = f"{n:02d}.{('png', 'png', 'jpg')[n % 3]}"
        Image.fromarray(pixels).save(folder / name)
        mask = ""
        if masks and n % 2:
            values = np.zeros((height, width), np.uint8)
            values[5:30, 8:20], values[10:20, 25:33] = 1, 2
            mask = f"mask{n}.png"
            Image.fromarray(values).save(folder / mask)
        lines.append(f"{name},p{n},{n % 2}{f',{mask}' if masks else ''}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    if masks:
        (folder / "labels.toml").write_text("mask_classes = { lung = 1, heart = 2 }\n")
    return folder


def loaded(data: Path, name: str = "clinic") -> Manifest:
    return load_dataset(name, data, no_phantom)


def test_the_copy_is_the_original_resized_and_rounded(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic")
    original = loaded(tmp_path)
    seen: list[tuple[int, int]] = []
    copy = prepare(original, tmp_path / "fast", 48, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert (copy.images, copy.made, copy.unreadable) == (12, 12, 0)
    assert seen == [(n, 12) for n in range(13)]
    prepared = loaded(tmp_path / "fast")
    assert prepared.root == tmp_path / "fast/clinic"
    columns = ["image_id", "patient_id", "study_id", "view", "split", "effusion"]
    pd.testing.assert_frame_equal(prepared.images.filter(columns), original.images.filter(columns))
    for before, after in zip(original.paths(), prepared.paths(), strict=True):
        whole, small = decode(before), decode(after)
        sizes = fitted(whole.shape[0], whole.shape[1], 48)
        assert max(small.shape) == min(48, max(whole.shape))
        expected = F.interpolate(
            torch.from_numpy(whole)[None, None], small.shape, mode="bicubic", antialias=True, align_corners=False
        )[0, 0].clamp(0, 1)
        assert small.shape == (sizes.new_height, sizes.new_width)
        np.testing.assert_allclose(small, expected.numpy(), atol=0.5 / 255 + 1e-4)
        with Image.open(after) as image:
            assert (image.mode, image.format) == ("L", "PNG")


def test_images_that_fit_are_kept_to_rounding(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic")
    original = loaded(tmp_path)
    prepare(original, tmp_path / "fast", 500)
    for before, after in zip(original.paths(), loaded(tmp_path / "fast").paths(), strict=True):
        np.testing.assert_allclose(decode(after), decode(before), atol=0.5 / 255 + 1e-6)


def test_masks_of_files_are_resized_by_nearest_pixels(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic", masks=True)
    original = loaded(tmp_path)
    prepare(original, tmp_path / "fast", 45)
    prepared = loaded(tmp_path / "fast")
    before, after = TrueMasks.of(original), TrueMasks.of(prepared)
    assert before.labels == after.labels == ("lung", "heart")
    assert after.exclusive
    for image_id, old, new in zip(original.images["image_id"], original.paths(), prepared.paths(), strict=True):
        whole, small = decode(old).shape, decode(new).shape
        large = torch.from_numpy(before.native(image_id, *whole))[:, None]
        expected = F.interpolate(large.float(), small, mode="nearest-exact")[:, 0]
        np.testing.assert_array_equal(after.native(image_id, *small), expected.numpy())
        np.testing.assert_array_equal(after.present(image_id), before.present(image_id))


def test_stretched_masks_keep_their_size(tmp_path: Path) -> None:
    cxlseg(tmp_path / "cxlseg", originals=True)
    prepare(loaded(tmp_path, "cxlseg"), tmp_path / "fast", 8)
    before, after = (loaded(data, "cxlseg") for data in (tmp_path, tmp_path / "fast"))
    assert np.asarray(decode(after.paths()[0])).shape == (8, 6)
    for image_id in before.images["image_id"]:
        old, new = (TrueMasks.of(manifest).native(image_id, 8, 6) for manifest in (before, after))
        np.testing.assert_array_equal(old, new)


def test_run_lengths_and_boxes_are_scaled(tmp_path: Path) -> None:
    siim(tmp_path / "siim")
    rsna(tmp_path / "rsna")
    for name in ("siim", "rsna"):
        prepare(loaded(tmp_path, name), tmp_path / "fast", 8)
    before, after = (TrueMasks.of(loaded(data, "siim")) for data in (tmp_path, tmp_path / "fast"))
    assert set(before.parts) == set(after.parts)
    for image_id in before.empty:
        large = torch.from_numpy(before.native(image_id, 16, 16))[None]
        expected = F.interpolate(large.float(), (8, 8), mode="nearest-exact")[0]
        np.testing.assert_array_equal(after.native(image_id, 8, 8), expected.numpy())
    old, new = (loaded(data, "rsna").boxes for data in (tmp_path, tmp_path / "fast"))
    assert old is not None
    assert new is not None
    sides = ["x", "y", "width", "height"]
    np.testing.assert_allclose(new[sides].to_numpy(float), old[sides].to_numpy(float) / 2)
    assert new["image_id"].tolist() == old["image_id"].tolist()


def test_boxes_of_an_image_with_another_aspect() -> None:
    boxes = pd.DataFrame({"image_id": ["a", "b"], "label": "x", "x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0})
    scaled = scaled_boxes(boxes, {"a": fitted(100, 201, 50)})
    assert scaled[["x", "y", "width", "height"]].to_numpy().tolist() == [
        pytest.approx([10 * 50 / 201, 20 * 0.25, 30 * 50 / 201, 40 * 0.25])
    ]


def test_symile_keeps_its_ecgs_and_labs(tmp_path: Path) -> None:
    write_symile(tmp_path / "symile")
    original = loaded(tmp_path, "symile")
    prepare(original, tmp_path / "fast", 8)
    shutil.rmtree(tmp_path / "symile")
    prepared = loaded(tmp_path / "fast", "symile")
    assert prepared.signals is not None
    assert original.signals is not None
    labs = [name for name in original.signals if name.startswith("lab:")]
    pd.testing.assert_frame_equal(prepared.signals.filter(labs), original.signals.filter(labs))
    ecg = read_ecg(prepared.root / prepared.signals["ecg"].tolist()[13])
    np.testing.assert_allclose(ecg, np.repeat(13 + np.arange(12)[:, None] / 100, 50, 1), atol=1e-5)
    assert decode(prepared.paths()[0]).shape == (8, 6)
    assert prepared.lineage == ("symile", "mimic")


def test_lost_ecgs_and_masks_are_made_again(tmp_path: Path) -> None:
    write_symile(tmp_path / "symile")
    original = loaded(tmp_path, "symile")
    prepare(original, tmp_path / "fast", 16)
    prepared = loaded(tmp_path / "fast", "symile")
    assert prepared.signals is not None
    lost, emptied = (prepared.root / path for path in prepared.signals["ecg"][:2])
    before = lost.read_bytes(), emptied.read_bytes()
    lost.unlink()
    emptied.write_bytes(b"")
    with pytest.raises(UserError, match=r"2 file\(s\) are missing"):
        read_prepared(prepared.root)
    prepare(original, tmp_path / "fast", 16)
    assert (lost.read_bytes(), emptied.read_bytes()) == before
    csv = write_csv(tmp_path / "csv", masks=True) / "labels.csv"
    drawn = load_dataset(str(csv), None, no_phantom)
    prepare(drawn, tmp_path / "fast", 16)
    mask = next((tmp_path / "fast" / drawn.name).glob("masks/*/*.png"))
    mask.unlink()
    assert prepare(drawn, tmp_path / "fast", 16).made == 1
    assert mask.is_file()


def test_reports_lineage_and_the_phantoms_stamp_come_along(tmp_path: Path) -> None:
    from cxrbench.phantom import write as phantom

    phantom.write(tmp_path, images={"padchest": 3}, workers=1)
    original = loaded(tmp_path, "padchest")
    prepare(original, tmp_path / "fast", 64)
    shutil.move(tmp_path / "fast", tmp_path / "moved")
    prepared = loaded(tmp_path / "moved", "padchest")
    assert prepared.synthetic
    assert prepared.lineage == ("padchest",)
    assert prepared.reports is not None
    assert original.reports is not None
    pd.testing.assert_frame_equal(prepared.reports, original.reports)
    assert any("longest side at most 64 px" in note for note in prepared.notes)
    assert all(path.is_file() for path in prepared.paths())


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    calls: list[str] = []

    def noted(path: Path, use: Callable[[np.ndarray], Any], *, max_pixels: int) -> Any:
        calls.append(path.name)
        return use_decoded(path, use, max_pixels=max_pixels)

    monkeypatch.setattr(prepared_files, "use_decoded", noted)
    return calls


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from cxrbench.data.prepared import files as prepared_files
    from cxrbench.data.prepared.copy import prepare
    from cxrbench.engine.registry import load_dataset

    data, log, after, where = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    use_decoded, replace = prepared_files.use_decoded, os.replace

    def counting(path, use, **options):
        with open(log, "a") as handle:
            handle.write(path.name + "\\n")
        if where == "decoding" and len(log.read_text().split()) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return use_decoded(path, use, **options)

    def renaming(source, target):
        if where == "renaming" and log.exists() and len(log.read_text().split()) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    prepared_files.use_decoded, os.replace = counting, renaming
    prepare(load_dataset("clinic", data, None), data / "fast", 32)
"""


@pytest.mark.parametrize("where", ["decoding", "renaming"])
def test_killed_and_run_again_it_goes_on(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "clinic")
    script, log = tmp_path / "killed.py", tmp_path / "decoded.txt"
    script.write_text(textwrap.dedent(KILLED))
    command = [sys.executable, str(script), str(tmp_path), str(log)]
    killed = subprocess.run([*command, "5", where], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "fast/clinic").exists()
    assert (tmp_path / "fast/.clinic.partial").is_dir()
    once = log.read_text().split()
    assert len(once) == 6
    done = prepare(loaded(tmp_path), tmp_path / "other", 32)
    calls = decoded(monkeypatch)
    again = prepare(loaded(tmp_path), tmp_path / "fast", 32)
    assert again.made == len(calls) == 7
    assert sorted(once[:5] + calls) == sorted(path.name for path in loaded(tmp_path).paths()), "no image twice"
    assert loaded(tmp_path / "fast").fingerprint == loaded(tmp_path / "other").fingerprint
    for one, other in zip(loaded(tmp_path / "fast").paths(), loaded(tmp_path / "other").paths(), strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "fast").rglob("*.tmp"))
    assert done.made == 12
    assert prepare(loaded(tmp_path), tmp_path / "fast", 32).made == 0


def test_a_file_cut_short_is_made_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic")
    copy = prepare(loaded(tmp_path), tmp_path / "fast", 32)
    partial = tmp_path / "fast/.clinic.partial"
    copy.folder.rename(partial)
    whole = {path: path.read_bytes() for path in sorted(partial.glob("images/*/*.png"))}
    cut, emptied, foreign = list(whole)[:3]
    cut.write_bytes(whole[cut][:-30])
    emptied.write_bytes(b"")
    foreign.write_bytes(whole[list(whole)[5]])  # another image's
    assert prepare(loaded(tmp_path), tmp_path / "fast", 32).made == 3
    assert {path: (copy.folder / path.relative_to(partial)).read_bytes() for path in whole} == whole


def test_changed_and_missing_images_are_noticed_and_made_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic")
    copy = prepare(loaded(tmp_path), tmp_path / "fast", 32)
    first, second, third = sorted(copy.folder.glob("images/*/*.png"))[:3]
    kept = first.read_bytes(), second.read_bytes()
    first.write_bytes(kept[0][:-20])
    second.unlink()
    with pytest.raises(UserError, match=r"2 file\(s\) are missing or not as they were written .*0000000\.png"):
        loaded(tmp_path / "fast")
    assert prepare(loaded(tmp_path), tmp_path / "fast", 32).made == 2
    assert (first.read_bytes(), second.read_bytes()) == kept
    middle = bytearray(third.read_bytes())
    middle[middle.index(b"IDAT") + 8] ^= 1  # of the same size: the PNG's CRC
    third.write_bytes(middle)
    manifest = loaded(tmp_path / "fast")
    with pytest.raises(BadImageError):
        decode(manifest.paths()[2])


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic")
    copy = prepare(loaded(tmp_path), tmp_path / "fast", 32)
    table = pd.read_parquet(copy.folder / MANIFEST)
    table.to_parquet(copy.folder / MANIFEST)
    with pytest.raises(UserError, match="carries no checksum"):
        loaded(tmp_path / "fast")


def test_unreadable_images_stop_or_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_csv(tmp_path / "clinic", masks=True)
    (folder / "03.png").write_bytes(b"no image at all")
    with pytest.raises(BadImageError, match=r"cannot read image .*03\.png"):
        prepare(loaded(tmp_path), tmp_path / "fast", 32)
    assert not (tmp_path / "fast/clinic").exists()
    calls = decoded(monkeypatch)
    copy = prepare(loaded(tmp_path), tmp_path / "fast", 32, skip_bad=True)
    assert (copy.images, copy.unreadable) == (11, 1)
    assert 9 >= len(calls) >= 8, "what was made before the bad image is kept"
    prepared = loaded(tmp_path / "fast")
    assert "03.png" not in set(prepared.images["image_id"])
    assert len(TrueMasks.of(prepared).parts) == 5
    assert any("1 unreadable images were left out" in note for note in prepared.notes)


def test_other_copies_and_other_folders_are_refused(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "clinic")
    with pytest.raises(UserError, match="is the dataset itself"):
        prepare(loaded(tmp_path), tmp_path, 32)
    (tmp_path / "fast/clinic").mkdir(parents=True)
    with pytest.raises(UserError, match="holds something else"):
        prepare(loaded(tmp_path), tmp_path / "fast", 32)
    (tmp_path / "fast/clinic").rmdir()
    prepare(loaded(tmp_path), tmp_path / "fast", 32)
    with pytest.raises(UserError, match="copy of another size"):
        prepare(loaded(tmp_path), tmp_path / "fast", 40)
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace("p3,1", "p3,0"))
    with pytest.raises(UserError, match="of the dataset before it changed"):
        prepare(loaded(tmp_path), tmp_path / "fast", 32)
    (tmp_path / "fast/clinic").rename(tmp_path / "fast/.clinic.partial")
    with pytest.raises(UserError, match="unfinished copy of another size"):
        prepare(loaded(tmp_path), tmp_path / "fast", 40)
    assert prepare(loaded(tmp_path), tmp_path / "fast", 32).made == 0, "only the labels have changed"
    assert loaded(tmp_path / "fast").targets()[3, 0] == 0


def test_a_full_disk_is_one_line_and_what_was_done_is_kept(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic", 6)
    Image.fromarray(RNG.integers(0, 256, (200, 200), dtype=np.uint8)).save(tmp_path / "clinic/05.jpg", quality=95)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # no file above 20 kB: the noise does not fit
        with pytest.raises(UserError, match=r"cannot write to .*fast: File too large; free some space") as caught:
            prepare(loaded(tmp_path), tmp_path / "fast", 512)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert len(list((tmp_path / "fast/.clinic.partial").glob("images/*/*.png"))) == 5
    assert prepare(loaded(tmp_path), tmp_path / "fast", 512).made == 1


def test_the_command_line_prepares_checks_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cxrbench.cli.main import app

    write_csv(tmp_path / "clinic", 6)
    out = tmp_path / "fast"

    def run(*words: str) -> str:
        app([*words], standalone_mode=False)
        return capsys.readouterr().out

    said = run("data", "prepare", str(tmp_path / "clinic/labels.csv"), "--size", "32", "--out", str(out))
    name = "clinic"
    assert f"6 images in {out / name}, 6 of them made now: use it with --data {out}" in said
    assert "unreadable files: 0 of 6 decoded" in run("data", "check", name, "--data", str(out))
    assert "a prepared copy" in run("data", "list", "--data", str(out))
    with pytest.raises(UserError, match="on-bad-image is error or skip"):
        run("data", "prepare", name, "--data", str(out), "--out", str(out), "--on-bad-image", "drop")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "clinic", 2)
    with turn(tmp_path / "fast/.clinic.lock", "test"), pytest.raises(UserError, match="another process is preparing"):
        prepare(loaded(tmp_path), tmp_path / "fast", 32)
    prepare(loaded(tmp_path), tmp_path / "fast", 32)
    assert [path.name for path in (tmp_path / "fast").iterdir()] == ["clinic"]


def test_how_long_reports_may_be_is_set_here_and_not_by_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Arrow's own limit is 100 MB; MIMIC-CXR's reports are about 110 MB. Too slow to try: the limit itself is tried."""
    write_csv(tmp_path / "clinic", 2)
    manifest = loaded(tmp_path)
    reports = pd.DataFrame({"study_id": manifest.images["study_id"], "findings": "x" * 3000, "impression": ""})
    whole = replace(manifest, reports=reports)
    whole.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").fingerprint == whole.fingerprint
    assert MAX_METADATA > 10**9
    monkeypatch.setattr("cxrbench.data.manifest.MAX_METADATA", 5000)
    with pytest.raises(UserError, match="size limit"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mask a has 7 x 5 pixels, its image 7 x 6"):
        nearest(np.zeros((5, 7)), fitted(6, 7, 3), "mask a")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["../../x", "/etc/x", ".", "..", "a/b", "a\\b", ".hidden", "a\nb", ""])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    manifest = replace(loaded(write_csv(tmp_path / "data/clinic").parent), name=name)
    with pytest.raises(UserError, match="will not do as a folder's name"):
        prepare(manifest, tmp_path / "deep/er/fast", 32)
    assert not (tmp_path / "deep").exists()


def test_an_original_of_the_same_size_is_copied_again(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "data/clinic")
    prepare(loaded(folder.parent), tmp_path / "fast", 32)
    work = tmp_path / "fast/clinic"
    work.rename(tmp_path / "fast/.clinic.partial")
    content = (folder / "00.png").read_bytes()
    Image.fromarray(np.zeros((40, 90), np.uint8)).save(folder / "00.png")
    black = (folder / "00.png").read_bytes()
    (folder / "00.png").write_bytes(black + b"\0" * (len(content) - len(black)))
    copy = prepare(loaded(folder.parent), tmp_path / "fast", 32)
    assert (copy.images, copy.made) == (12, 1)
    assert decode(loaded(tmp_path / "fast").paths()[0]).max() == 0
