"""Training images at the size that a method wants: decoded once into one memory-mapped file, or whenever asked for."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrbench.data.decode.preprocess import load_image
from cxrbench.data.manifest import Manifest, Rows
from cxrbench.data.subsets.selection import UNUSED
from cxrbench.encoder import Preprocess
from cxrbench.errors import BadImageError, UserError
from cxrbench.files.atomic import sync_folder, writing
from cxrbench.files.leases import Lease
from cxrbench.files.records import read_record, write_record
from cxrbench.files.seal import DamagedError, check_digest
from cxrbench.files.turns import check_still, turn
from cxrbench.progress import tracked

Eligible = Callable[[Manifest], NDArray[np.bool_]]

FORMAT = 1  # raise when the same file gives other pixels
CHUNK = 1 << 20
SLOW = 8 * 10**9  # bytes: whoever waits for more to be read is told
SAVED_EVERY = 500  # images: more than these are not decoded twice


class Prepared(Protocol):
    """Training images, uint8 [n, 1, size, size], by row number."""

    @property
    def size(self) -> int:
        """Pixels along a side."""
        ...

    @property
    def dropped(self) -> tuple[str, ...]:
        """Unreadable files that were left out."""
        ...

    def __len__(self) -> int:
        """Images."""
        ...

    def images(self, rows: Rows) -> NDArray[np.uint8]:
        """Images [len(rows), 1, size, size] in the order of ``rows``."""
        ...


@dataclass(frozen=True)
class OnDisk:
    """Decoded and resized once, in the file ``path``."""

    path: Path
    size: int
    count: int
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def images(self, rows: Rows) -> NDArray[np.uint8]:
        """Read them; the file is mapped anew, which costs microseconds, so that nothing open is sent to a process."""
        whole = np.memmap(self.path, np.uint8, "r", shape=(self.count, 1, self.size, self.size))
        return np.asarray(whole[rows])


@dataclass(frozen=True)
class Decoding:
    """Decoded whenever they are asked for: no file of prepared images, and every epoch pays for it."""

    files: tuple[Path, ...]
    gray: Preprocess
    dropped: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return self.gray.size

    def __len__(self) -> int:
        return len(self.files)

    def images(self, rows: Rows) -> NDArray[np.uint8]:
        """Decode and resize them. Raises BadImageError."""
        return np.stack([eight_bits(load_image(self.files[row], self.gray)).numpy() for row in rows])


def training_rows(
    manifests: Sequence[Manifest],
    *,
    excluded: Mapping[str, frozenset[str]] | None = None,
    eligible: Eligible | None = None,
    wants: str = "training images",
    limit: int | None = None,
) -> pd.DataFrame:
    """``dataset, image_id, patient_id, study_id, view, path, bytes`` of every image to train on; ``path`` is absolute.

    A patient who also has a validation or test image is left out, and so are those of ``excluded`` (by dataset) and
    images that are not ``eligible`` (``wants``: in words). Of what is left, whole studies are drawn evenly until
    ``limit`` images would be exceeded, one at least.
    """
    tables = []
    for manifest in manifests:
        images = manifest.images
        held_out = {*images.loc[~images["split"].isin(["train", UNUSED]), "patient_id"]}
        held_out |= (excluded or {}).get(manifest.name, frozenset())
        wanted = (images["split"] == "train").to_numpy() & ~images["patient_id"].isin(list(held_out)).to_numpy()
        if eligible is not None:
            wanted &= eligible(manifest)
        tables.append(rows_of(manifest, wanted))
    rows = pd.concat(tables, ignore_index=True)
    if rows.empty:
        names = ", ".join(m.name for m in manifests)
        raise UserError(f"{names}: there are no {wants}; check the split column and the data, or choose other data")
    if limit is not None and limit < len(rows):
        study = rows.groupby(["dataset", "patient_id", "study_id"], sort=False, dropna=False).ngroup().to_numpy()
        inputs = np.bincount(study)
        order = np.random.default_rng(0).permutation(len(inputs))
        whole = max(1, int(np.searchsorted(inputs[order].cumsum(), limit, side="right")))
        rows = rows.loc[np.isin(study, order[:whole])].reset_index(drop=True)
    return rows


def rows_of(manifest: Manifest, wanted: NDArray[np.bool_]) -> pd.DataFrame:
    """``dataset, image_id, patient_id, study_id, view, path, bytes`` of some images; ``path`` is absolute."""
    table = manifest.images.loc[wanted, ["image_id", "patient_id", "study_id", "view", "path", "bytes"]]
    paths = [str(manifest.root / path) for path in table["path"]]
    return table.assign(path=paths, dataset=manifest.name)[["dataset", *table.columns]]


def prepare_images(
    rows: pd.DataFrame,
    preprocess: Preprocess,
    cache: Path,
    *,
    workers: int = 0,
    on_bad_image: Literal["error", "skip"] = "error",
) -> OnDisk:
    """Decode and resize the images of ``training_rows`` into one file under ``cache``, or find it there.

    Eight bits are kept (what JPEG and PNG images have) and normalisation is left to training. An unreadable image is a
    BadImageError, or with ``skip`` is dropped and named in the result. What was interrupted is gone on with; of two
    processes that want the same images, one waits for the other.
    """
    gray = as_gray(preprocess)
    what = json.dumps([FORMAT, rows[["dataset", "path", "bytes"]].to_numpy().tolist(), repr(gray)])
    path = cache / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.u8"
    record = path.with_suffix(".json")
    dropped = _dropped(path, len(rows), gray)
    if dropped and on_bad_image == "error":
        for name in dropped:
            load_image(Path(name), gray)
        with writing(cache):
            record.unlink()  # they have been mended since
        dropped = None
    if dropped is None:
        with writing(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with turn(path.with_suffix(".lock"), f"preparing the images of {path.name}") as lease:
                dropped = _dropped(path, len(rows), gray)
                if dropped is None:
                    dropped = _write(path, [Path(p) for p in rows["path"]], gray, workers, on_bad_image, lease)
    return OnDisk(path, preprocess.size, len(rows) - len(dropped), dropped)


def _dropped(path: Path, images: int, gray: Preprocess) -> tuple[str, ...] | None:
    """The unreadable files that a finished file of prepared images lacks; None if it is not there, or is damaged.

    Reads all of it, once for a whole training: a flipped bit would be learnt.
    """
    try:
        kept = read_record(path.with_suffix(".json"))
        dropped, size = tuple(kept["dropped"]), path.stat().st_size
        if size > SLOW:
            print(f"checking {size / 1e9:.0f} GB of prepared images", file=sys.stderr)
        check_digest(path, kept["sha256"], (images - len(dropped)) * gray.size**2)
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename == str(path):
            print(f"prepared images {path} are lost: they are decoded again", file=sys.stderr)
        return None
    except (DamagedError, KeyError) as error:
        reason = error.reason if isinstance(error, DamagedError) else "another version wrote it"
        print(f"prepared images {path} are damaged ({reason}): they are decoded again", file=sys.stderr)
        return None
    return dropped


def as_gray(preprocess: Preprocess) -> Preprocess:
    """The same geometry, one channel in [0, 1]."""
    return replace(preprocess, mean=(0.0,), std=(1.0,), channels=1)


def eight_bits(image: Tensor) -> Tensor:
    """[0, 1] to uint8, to the nearest."""
    return (image * 255).round().to(torch.uint8)


def _write(
    path: Path, files: list[Path], gray: Preprocess, workers: int, on_bad_image: str, lease: Lease
) -> tuple[str, ...]:
    """Write the images in order, and last the record with their checksum and what was dropped, which is returned.

    ``.part.json`` says how many files an interrupted call has dealt with, and the checksum of what it wrote; what
    ``.part`` holds beyond those is made again. Plain writes, because a full disk under a memory map kills the process.
    """
    part, progress = path.with_suffix(".part"), path.with_suffix(".part.json")
    if not part.is_file() and progress.is_file() and path.is_file():  # killed between the renaming and the record
        os.replace(path, part)
    done, dropped, digest = _begun(part, progress, gray)
    if dropped and on_bad_image == "error":
        done, dropped, digest = 0, [], hashlib.sha256()
    # Errors travel as values: an exception raised in a worker process loses its type on the way.
    loader: DataLoader[Tensor | tuple[str, str]] = DataLoader(
        _Files(files[done:], gray), batch_size=None, num_workers=workers
    )
    mode, advice = "r+b" if done else "wb", "what was decoded is kept: run the same command again"
    with open(part, mode) as handle, decoding_processes(lambda: advice):
        handle.seek(handle.truncate((done - len(dropped)) * gray.size**2))
        for image in tracked(loader, "preparing images", len(files), done=done):
            done += 1
            if isinstance(image, Tensor):
                content = image.numpy().tobytes()
                digest.update(content)
                handle.write(content)
            elif on_bad_image == "error":
                raise BadImageError(*image)
            else:
                dropped.append(image[0])
            if done % SAVED_EVERY == 0 or done == len(files):
                check_still(lease)
                handle.flush()
                os.fsync(handle.fileno())
                write_record(progress, {"done": done, "dropped": dropped, "sha256": digest.hexdigest()})
    check_still(lease)
    os.replace(part, path)
    sync_folder(path.parent)
    write_record(path.with_suffix(".json"), {"dropped": dropped, "sha256": digest.hexdigest()})
    progress.unlink(missing_ok=True)
    return tuple(dropped)


def _begun(part: Path, progress: Path, gray: Preprocess) -> tuple[int, list[str], "hashlib._Hash"]:
    """Of an interrupted call: how many files it has dealt with, those it dropped, and the digest of what it wrote.

    All nothing where it left nothing, or nothing that is as it was written.
    """
    with suppress(FileNotFoundError, DamagedError, KeyError):
        found, digest = read_record(progress), hashlib.sha256()
        left = (found["done"] - len(found["dropped"])) * gray.size**2
        with open(part, "rb") as handle:
            while left and (chunk := handle.read(min(left, CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
        if digest.hexdigest() == found["sha256"]:
            return found["done"], found["dropped"], digest
    return 0, [], hashlib.sha256()


@contextmanager
def decoding_processes(advice: Callable[[], str]) -> Iterator[None]:
    """A process that decodes images and is killed is a UserError with this ``advice``."""
    try:
        yield
    except RuntimeError as error:
        if not re.match(r"DataLoader worker .*(killed|exited)", str(error)):
            raise
        raise UserError(
            f"a process that decodes images died ({str(error).strip()}); {advice()}, with fewer --workers if memory "
            "ran out"
        ) from error


class _Files(Dataset[Tensor | tuple[str, str]]):
    """Item i: the image, uint8 [1, size, size], or (path, reason) if it cannot be read."""

    def __init__(self, files: list[Path], gray: Preprocess) -> None:
        self.files, self.gray = files, gray

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor | tuple[str, str]:
        try:
            return eight_bits(load_image(self.files[i], self.gray))
        except BadImageError as error:
            return error.path, error.reason
