"""``cxrbench data check``: what is in a dataset, and which of its files cannot be read."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from cxrbench.cores import cores
from cxrbench.data.annotations.masks import TrueMasks
from cxrbench.data.decode.images import MAX_PIXELS
from cxrbench.data.lookalikes import Gallery, decoded_looks
from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.errors import UserError

SHOWN = 20
LACKING = {"train": "trained", "val": "selected", "test": "tested"}
"""What cannot be done on a dataset without images in a split."""


@dataclass(frozen=True)
class SplitCount:
    """One split: images, patients, per label how many images are positive and how many unknown, and its numbers.

    ``numbers``: per number to be predicted, how many are known, their mean and standard deviation (None where unknown).
    ``masks``: per label that is outlined, how many images show it and of how many that is unknown; empty where masks
    were not looked at.
    """

    images: int
    patients: int
    positives: dict[str, int]
    unknown: dict[str, int]
    numbers: dict[str, tuple[int, float | None, float | None]]
    masks: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckReport:
    """What ``check`` found. ``unreadable`` maps an image id to the reason; ``decoded`` counts the files tried.

    ``constant`` and ``saturated``: ids of images that show nothing, or too little. ``leaked`` and ``repeated``: groups
    of ids of one picture, in several splits or in one.
    """

    dataset: str
    root: str
    kind: str
    images: int
    patients: int
    megabytes: float
    splits: dict[str, SplitCount]
    boxes: int
    masks: int
    reports: int
    signals: int
    shared_patients: tuple[str, ...]
    decoded: int
    unreadable: dict[str, str]
    constant: tuple[str, ...]
    saturated: tuple[str, ...]
    leaked: tuple[tuple[str, ...], ...]
    repeated: tuple[tuple[str, ...], ...]
    synthetic: bool
    source: str
    licence: str
    notes: tuple[str, ...]

    @property
    def quantities(self) -> tuple[str, ...]:
        """The numbers to be predicted."""
        return tuple(self.splits[SPLITS[0]].numbers)

    @property
    def ok(self) -> bool:
        """No patient and no picture in two splits, no unreadable file."""
        return not self.shared_patients and not self.unreadable and not self.leaked

    def __str__(self) -> str:
        return format_report(self)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**asdict(self), "ok": self.ok}


def check(
    manifest: Manifest,
    *,
    decode_all: bool = True,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int], None] | None = None,
) -> CheckReport:
    """Count a manifest and decode its images and masks (``decode_all``), ``workers`` at a time (default: one per core).

    ``progress`` is called with the number of images done since its last call. Memory does not grow with the number of
    images but for some 300 bytes of each: at most ``2 * workers`` are in flight.
    """
    images = manifest.images
    ids = images["image_id"].astype(str).to_numpy()
    bad: dict[str, str] = {}
    seen = Gallery(len(manifest) if decode_all else 0)
    if decode_all:
        for row, found in decoded_looks(manifest.paths(), workers or cores(), max_pixels, progress):
            if isinstance(found, str):
                bad[ids[row]] = found
            else:
                seen.put(row, found)
    outlined = _outlined(manifest, workers or cores(), bad) if decode_all else {}
    splits = images["split"].to_numpy()
    groups = seen.groups()
    crossing = [len({*splits[rows]} & {*SPLITS}) > 1 for rows in groups]
    parted = images[images["split"].isin(list(SPLITS)).to_numpy()]
    return CheckReport(
        dataset=manifest.name,
        root=str(manifest.root),
        kind=manifest.kind,
        images=len(manifest),
        patients=len(set(images["patient_id"])),
        megabytes=sum(images["bytes"].tolist()) / 1e6,
        splits={split: _count(manifest, split, outlined) for split in SPLITS},
        boxes=0 if manifest.boxes is None else len(manifest.boxes),
        masks=0 if manifest.masks is None else len(manifest.masks),
        reports=0 if manifest.reports is None else len(manifest.reports),
        signals=0 if manifest.signals is None else len(manifest.signals),
        shared_patients=tuple(shared_patients(parted["patient_id"].tolist(), parted["split"].tolist())),
        decoded=len(manifest) if decode_all else 0,
        unreadable=dict(sorted(bad.items())),
        constant=tuple(ids[seen.constant()]),
        saturated=tuple(ids[seen.saturated()]),
        leaked=tuple(tuple(ids[rows]) for rows, leak in zip(groups, crossing, strict=True) if leak),
        repeated=tuple(tuple(ids[rows]) for rows, leak in zip(groups, crossing, strict=True) if not leak),
        synthetic=manifest.synthetic,
        source=manifest.source,
        licence=manifest.licence,
        notes=manifest.notes,
    )


def format_report(report: CheckReport) -> str:
    """The report as text: facts, a table of positives per label and split, problems, notes."""
    rows = [
        ["images", *(report.splits[split].images for split in SPLITS)],
        ["patients", *(report.splits[split].patients for split in SPLITS)],
        *([label, *(_cell(report.splits[split], label) for split in SPLITS)] for label in _labels(report)),
        *(
            [f"{label} (mask)", *(_shown(*report.splits[split].masks[label]) for split in SPLITS)]
            for label in report.splits[SPLITS[0]].masks
        ),
        *([f"{x} (mean ± SD)", *(_number(report.splits[split], x) for split in SPLITS)] for x in report.quantities),
    ]
    lines = [
        f"{report.dataset}{' (synthetic)' if report.synthetic else ''}: {report.images:,} images of "
        f"{report.patients:,} patients, {report.megabytes:,.0f} MB, {report.kind}, {report.boxes:,} boxes, "
        f"{report.masks:,} masks, {report.reports:,} reports, {report.signals:,} ECGs with labs",
        f"folder: {report.root}",
        f"source: {report.source or 'unknown'}; terms: {report.licence or 'unknown'}",
        "",
        tabulate(rows, headers=["positives", *SPLITS], stralign="right", colalign=("left",)),
        "",
        f"patients in more than one split: {len(report.shared_patients)}"
        + (f" ({', '.join(report.shared_patients[:SHOWN])})" if report.shared_patients else ""),
        f"unreadable files: {len(report.unreadable)} of {report.decoded:,} decoded"
        if report.decoded
        else "unreadable files: not looked for",
        *(f"  {name}: {reason}" for name, reason in list(report.unreadable.items())[:SHOWN]),
        *([f"  ... and {len(report.unreadable) - SHOWN} more"] if len(report.unreadable) > SHOWN else []),
        *(_seen(report) if report.decoded else []),
        *(
            f"no {split} images: nothing can be {LACKING[split]} on it"
            for split in SPLITS
            if not report.splits[split].images
        ),
        *(f"note: {note}" for note in report.notes),
    ]
    return "\n".join(lines)


def _outlined(manifest: Manifest, workers: int, bad: dict[str, str]) -> dict[str, NDArray[np.float32]]:
    """Per label of the masks, for each image: 1 where it is shown, 0 where not, NaN where unknown.

    Images whose masks cannot be read are put into ``bad`` with the reason, and are unknown.
    """
    if manifest.masks is None or not len(manifest.masks):
        return {}
    truth = TrueMasks.of(manifest)
    ids = manifest.images["image_id"].astype(str).tolist()

    def one(image_id: str) -> NDArray[np.float32] | str:
        try:
            return truth.present(image_id)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(one, ids))
    bad |= {name: reason for name, reason in zip(ids, found, strict=True) if isinstance(reason, str)}
    unknown = np.full(len(truth.labels), np.nan, np.float32)
    shown = np.array([unknown if isinstance(one, str) else one for one in found]).reshape(len(ids), len(truth.labels))
    return dict(zip(truth.labels, shown.T, strict=True))


def _count(manifest: Manifest, split: str, outlined: dict[str, NDArray[np.float32]]) -> SplitCount:
    rows = manifest.rows_of(split)
    targets = manifest.targets()[rows]
    return SplitCount(
        images=len(rows),
        patients=len(set(manifest.images["patient_id"].iloc[rows])),
        positives={name: int((targets[:, n] == 1).sum()) for n, name in enumerate(manifest.labels)},
        unknown={name: int(np.isnan(targets[:, n]).sum()) for n, name in enumerate(manifest.labels)},
        numbers=dict(zip(manifest.quantities, map(_spread, manifest.measured()[rows].T), strict=True)),
        masks={label: (int((of[rows] == 1).sum()), int(np.isnan(of[rows]).sum())) for label, of in outlined.items()},
    )


def _spread(values: NDArray[np.float32]) -> tuple[int, float | None, float | None]:
    known = values[~np.isnan(values)].astype(np.float64)
    return len(known), float(known.mean()) if len(known) else None, float(known.std()) if len(known) else None


def _number(count: SplitCount, name: str) -> str:
    known, mean, deviation = count.numbers[name]
    unknown = f" ({count.images - known} unknown)" if known < count.images else ""
    return ("-" if mean is None else f"{mean:.3g} ± {deviation:.3g}") + unknown


def _labels(report: CheckReport) -> list[str]:
    return list(next(iter(report.splits.values())).positives)


def _cell(count: SplitCount, label: str) -> str:
    return _shown(count.positives[label], count.unknown[label])


def _shown(positive: int, unknown: int) -> str:
    return f"{positive}" + (f" ({unknown} unknown)" if unknown else "")


def _seen(report: CheckReport) -> list[str]:
    """Lines on what the pictures show."""
    leaked, repeated = ([" = ".join(group) for group in groups] for groups in (report.leaked, report.repeated))
    return [
        _listed("pictures in more than one split", leaked),
        *([_listed("pictures that a split has more than once", repeated)] if repeated else []),
        *([_listed("images of a single gray value", report.constant)] if report.constant else []),
        *([_listed("images mostly black or largely white", report.saturated)] if report.saturated else []),
    ]


def _listed(what: str, names: Sequence[str]) -> str:
    """A count and the first names."""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{what}: {len(names)}" + (f" ({', '.join(names[:SHOWN])}{more})" if names else "")
