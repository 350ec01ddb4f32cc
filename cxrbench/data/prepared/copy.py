"""A resized 8-bit copy of a dataset with its manifest, so that decoding keeps up with training.

``FOLDER/manifest.parquet`` makes a folder a copy; ``load_dataset`` reads it wherever an official folder may be.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrbench.data.annotations.rescaling import Sizes, scaled_boxes, scaled_counts
from cxrbench.data.datasets.layout import Layout
from cxrbench.data.decode.images import MAX_PIXELS
from cxrbench.data.manifest import Manifest
from cxrbench.data.prepared.files import ImageFile, copy_signals, image_files, made, make, mask_names
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.generations import Holder
from cxrbench.files.leases import Leases
from cxrbench.files.names import is_folder_name, plain, some
from cxrbench.files.turns import at_once, check_still
from cxrbench.progress import Advance

MANIFEST, PLAN, BAD = "manifest.parquet", "prepared.json", "unreadable.jsonl"
FORMAT = 2  # raise when a copy made by an earlier version would not be made like that any more


@dataclass(frozen=True)
class Copy:
    """What ``prepare`` left: the copy's folder, its images, how many were made now, how many could not be read."""

    folder: Path
    images: int
    made: int
    unreadable: int


def prepare(
    manifest: Manifest,
    out: Path,
    size: int,
    *,
    workers: int = 1,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Advance | None = None,
) -> Copy:
    """Write the copy ``out/NAME`` of a dataset, longest side at most ``size``, or go on where an earlier call stopped.

    Images are decoded by ``workers`` threads (the decoders work outside Python's lock), each once, however often the
    work is interrupted; until all are there the folder is ``out/.NAME.partial``. Boxes are scaled, masks resized by
    nearest pixels, ECGs copied. A finished copy is checked (sizes of images; masks and ECGs are there) and what is
    missing made again.
    ``progress(done, total)`` counts images. Raises BadImageError for an unreadable image, or leaves it out and says so
    in the manifest's notes (``skip_bad``); UserError where ``out/NAME`` is something else, or the disk is full.
    """
    if not is_folder_name(manifest.name):
        raise UserError(
            f"{plain(manifest.name)!r} will not do as a folder's name: rename the dataset (name = ... in its TOML)"
        )
    final = out / manifest.name
    if final.resolve() == manifest.root.resolve():
        raise UserError(f"{final} is the dataset itself: choose another folder for its copy (--out)")
    with writing(out), Leases() as leases:
        lease = at_once(leases, out / f".{manifest.name}.lock", f"preparing {final}")
        if isinstance(lease, Holder):
            raise UserError(f"another process is preparing {final}: wait for it, or stop it")
        if (finished := _finished(manifest, final, size)) is not None:
            return finished
        work = _work_folder(final, size)
        made_now, sizes = _images(manifest, work, size, workers, skip_bad, max_pixels, progress)
        copy = _copied(manifest, work, sizes, size)
        check_still(lease)
        _write_plan(work, size, manifest.fingerprint)
        replace(copy, root=final).save(work / MANIFEST)
        os.replace(work, final)
        return Copy(final, len(copy), made_now, len(manifest) - len(copy))


def read_prepared(folder: Path) -> Manifest:
    """The manifest of a copy, wherever its folder lies now. Raises UserError where files are missing or changed.

    Sizes of files are compared here; what is inside a PNG is covered by its CRCs, which decoding checks.
    """
    manifest = replace(Manifest.load(folder / MANIFEST), root=folder)
    if changed := _changed(manifest):
        raise UserError(
            f"{folder}: {len(changed):,} file(s) are missing or not as they were written ({some(changed)}): run the "
            "same `cxrbench data prepare` again, which makes them anew"
        )
    return manifest


def _finished(manifest: Manifest, final: Path, size: int) -> Copy | None:
    """The copy if it is there whole. One that has lost images becomes unfinished again. UserError for another copy."""
    if not final.exists():
        return None
    if not (final / MANIFEST).is_file():
        raise UserError(f"{final} holds something else (no {MANIFEST}): choose another folder (--out)")
    if _plan(final) != {"format": FORMAT, "size": size, "source": manifest.fingerprint}:
        raise UserError(
            f"{final} is a copy of another size, or of the dataset before it changed: delete it, or choose another "
            "folder (--out)"
        )
    copy = replace(Manifest.load(final / MANIFEST), root=final)
    if not (changed := _changed(copy)):
        return Copy(final, len(copy), 0, len(manifest) - len(copy))
    for path in changed:
        (final / path).unlink(missing_ok=True)
    os.replace(final, _partial(final))
    return None


def _work_folder(final: Path, size: int) -> Path:
    """The folder to work in. UserError where it holds an unfinished copy of another size."""
    work = _partial(final)
    if (work / "images").exists():
        plan = _plan(work)
        if (plan.get("format"), plan.get("size")) != (FORMAT, size):
            raise UserError(f"{work} holds an unfinished copy of another size: delete it, or choose another --out")
    else:
        work.mkdir(exist_ok=True)
        _write_plan(work, size, "")
    return work


def _partial(final: Path) -> Path:
    return final.with_name(f".{final.name}.partial")


def _plan(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / PLAN).read_text("utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _write_plan(folder: Path, size: int, source: str) -> None:
    with atomic_path(folder / PLAN) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, "size": size, "source": source}) + "\n", encoding="utf-8")


def _changed(manifest: Manifest) -> list[str]:
    """Images that are not there with the size that the manifest says; masks and ECGs that are not there or empty."""
    layout = Layout(manifest.name, manifest.root, manifest.source, manifest.licence)
    there = {file.path: file.bytes for file in layout.files(["images"], (".png",), parts=3).values()}
    images = manifest.images
    changed = [path for path, size in zip(images["path"], images["bytes"], strict=True) if there.get(path) != size]

    def lost(path: object) -> bool:
        file = manifest.root / str(path)
        return isinstance(path, str) and path != "" and (not file.is_file() or not file.stat().st_size)

    if manifest.signals is not None:
        changed += [path for path in manifest.signals["ecg"] if lost(path)]
    if manifest.masks is not None and "path" in manifest.masks:
        of = manifest.masks.loc[[lost(path) for path in manifest.masks["path"]], "image_id"]
        changed += images.loc[images["image_id"].isin(list(of)), "path"].tolist()  # a mask is made with its image
    return changed


def _images(
    manifest: Manifest,
    work: Path,
    size: int,
    workers: int,
    skip_bad: bool,
    max_pixels: int,
    progress: Advance | None,
) -> tuple[int, dict[str, Sizes]]:
    """Make the images that are missing: how many were, and the sizes of all by image id; unreadable ones have none."""
    whole = image_files(manifest)
    sizes = {image.image_id: found for image in whole if (found := made(image, work))}
    bad = _known_bad(work) if skip_bad else set()
    before = len(sizes)
    todo = [
        image
        for image in whole
        if image.image_id not in sizes and (image.image_id, image.bytes, image.stamp) not in bad
    ]
    report = progress or (lambda done, total: None)
    report(done := len(whole) - len(todo), len(whole))

    def attempt(image: ImageFile) -> Sizes | BadImageError:
        try:
            return make(image, work, size, max_pixels)
        except BadImageError as error:
            return error

    for image, result in _in_threads(attempt, todo, workers):
        if not isinstance(result, BadImageError):
            sizes[image.image_id] = result
        elif not skip_bad:
            raise result
        else:
            _remember_bad(work, image, result)
        report(done := done + 1, len(whole))
    if not sizes:
        raise UserError(f"not one image of {manifest.name} can be read; the first: {whole[0].path}")
    return len(sizes) - before, sizes


def _in_threads(
    attempt: Callable[[ImageFile], Sizes | BadImageError], todo: Sequence[ImageFile], workers: int
) -> Iterator[tuple[ImageFile, Sizes | BadImageError]]:
    """Results as they come; a few images are in flight, however many there are."""
    waiting: dict[Future[Sizes | BadImageError], ImageFile] = {}
    following = iter(todo)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (image := next(following, None)) is not None:
                    waiting[pool.submit(attempt, image)] = image
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _known_bad(work: Path) -> set[tuple[str, int, str]]:
    """Image ids, and sizes and stamps of the files, that an earlier call could not read."""
    bad: set[tuple[str, int, str]] = set()
    if (work / BAD).is_file():
        for line in (work / BAD).read_text("utf-8").splitlines():
            try:
                image_id, size, stamp, _ = json.loads(line)
            except ValueError:  # the last line, cut short
                continue
            bad.add((image_id, size, stamp))
    return bad


def _remember_bad(work: Path, image: ImageFile, error: BadImageError) -> None:
    with open(work / BAD, "a", encoding="utf-8") as handle:
        handle.write(json.dumps([image.image_id, image.bytes, image.stamp, error.reason]) + "\n")


def _copied(manifest: Manifest, work: Path, sizes: Mapping[str, Sizes], size: int) -> Manifest:
    """The copy's manifest: of the images that have ``sizes``."""
    names = {image.image_id: image.name for image in image_files(manifest)}
    images = manifest.images[manifest.images["image_id"].isin(list(sizes))]
    paths = [names[image_id] for image_id in images["image_id"]]
    lost = len(manifest) - len(images)
    return replace(
        manifest,
        images=images.assign(path=paths, bytes=[os.path.getsize(work / path) for path in paths], stamp=""),
        boxes=None if manifest.boxes is None else scaled_boxes(manifest.boxes, sizes),
        masks=None if manifest.masks is None else _scaled_masks(manifest, manifest.masks, sizes),
        signals=copy_signals(manifest, work),
        notes=(
            *manifest.notes,
            f"Prepared copy: 8 bits, longest side at most {size} px.",
            *([f"{lost:,} unreadable images were left out of the copy."] * (lost > 0)),
        ),
    )


def _scaled_masks(manifest: Manifest, table: pd.DataFrame, sizes: Mapping[str, Sizes]) -> pd.DataFrame:
    """The table of masks: run lengths at the new size, files under their new names."""
    masks = table.loc[table["image_id"].isin(list(sizes))].reset_index(drop=True)
    ids = [str(image_id) for image_id in masks["image_id"]]
    if "path" in masks:
        names = mask_names(manifest)
        pairs = zip(ids, masks["path"], strict=True)
        masks = masks.drop(columns="stamp", errors="ignore")
        masks["path"] = [names[i][manifest.root / path] if isinstance(path, str) else path for i, path in pairs]
    if "counts" in masks:
        runs = masks["counts"].tolist()
        fixed = masks["stretched"].tolist() if "stretched" in masks else [False] * len(masks)
        drawn = [isinstance(counts, str) and not kept for counts, kept in zip(runs, fixed, strict=True)]
        masks["counts"] = [
            scaled_counts(c, sizes[i], i) if known else c for c, i, known in zip(runs, ids, drawn, strict=True)
        ]
        masks["height"] = np.where(drawn, [sizes[i].new_height for i in ids], masks["height"])
        masks["width"] = np.where(drawn, [sizes[i].new_width for i in ids], masks["width"])
    return masks
