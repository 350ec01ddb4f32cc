"""Studies as units of training: one to n images of one examination, frontal, lateral or unknown, and their report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cxrbench.data.manifest import Rows
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.text.tokens import ReportTokens

VIEWS = ("F", "L", "U")  # frontal, lateral, unknown; a view's code is its place here
VIEW_CODES = {"PA": 0, "AP": 0, "L": 1, "": 2}

Section = Literal["impression_or_findings", "impression", "report"]


@dataclass(frozen=True)
class Studies:
    """Which images belong together: those of study s are ``order[ends[s - 1] : ends[s]]`` (from 0 for the first).

    ``order``: row numbers [images], studies in the order of their first image. ``ends``: [studies]. ``keys``: dataset
    and study id of each. ``codes``: of each image's view, [images].
    """

    order: Rows
    ends: Rows
    keys: tuple[tuple[str, str], ...]
    codes: Rows

    def __len__(self) -> int:
        return len(self.ends)

    def images_of(self, study: int) -> Rows:
        """Row numbers of the study's images, ascending."""
        return self.order[self.ends[study - 1] if study else 0 : self.ends[study]]


def group_studies(images: TrainingImages) -> Studies:
    """Images with the same dataset, patient and study id; an image without a study id is a study by itself."""
    table, counted = images.rows, range(len(images.rows))
    columns = [table[name].tolist() for name in ("dataset", "patient_id", "study_id")]
    named = [(*ids, -1 if ids[2] else row) for row, ids in zip(counted, zip(*columns, strict=True), strict=True)]
    number: dict[tuple[Any, ...], int] = {}
    study_of = np.array([number.setdefault(name, len(number)) for name in named], np.int64)
    return Studies(
        order=np.argsort(study_of, kind="stable"),
        ends=np.cumsum(np.bincount(study_of)),
        keys=tuple((name[0], name[2]) for name in number),
        codes=np.array([VIEW_CODES.get(view, VIEW_CODES[""]) for view in table["view"]], np.int64),
    )


def report_texts(images: TrainingImages, studies: Studies, section: Section) -> list[str]:
    """Each study's text, "" where it has none.

    ``impression``: that section alone. ``impression_or_findings``: the findings where there is no impression.
    ``report``: findings, then impression.
    """
    texts: dict[tuple[str, str], str] = {}
    for name, manifest in images.manifests.items():
        if manifest.reports is not None:
            columns = [manifest.reports[column].fillna("").tolist() for column in ("findings", "impression")]
            for study, findings, impression in zip(manifest.reports["study_id"], *columns, strict=True):
                texts[name, study] = _chosen(findings.strip(), impression.strip(), section)
    return [texts.get(key, "") if key[1] else "" for key in studies.keys]


def _chosen(findings: str, impression: str, section: Section) -> str:
    if section == "report":
        return f"{findings} {impression}".strip()
    return impression or (findings if section == "impression_or_findings" else "")


@dataclass(frozen=True)
class StudyCorpus:
    """A unit is a study; of more than ``max_views`` images an epoch sees as many, drawn anew. ``reports``: row s of s.

    A batch has ``images`` uint8 [n, max_views, 1, S, S], ``views`` int64 [n, max_views] (codes of VIEWS) and
    ``present`` bool [n, max_views]; slots without an image are black, of code 0, not present, and last. With reports,
    it also has ``text`` int64 [n, L] (``ReportTokens.batch``).
    """

    images: TrainingImages
    studies: Studies
    max_views: int = 3
    reports: ReportTokens | None = None

    def __len__(self) -> int:
        return len(self.studies)

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """``images``, ``views``, ``present`` and maybe ``text``."""
        chosen = [self.sampled(int(unit), rng) for unit, rng in zip(units, rngs, strict=True)]
        counts = np.array([len(rows) for rows in chosen])
        present = torch.from_numpy(np.arange(self.max_views) < counts[:, None])
        rows, size = np.concatenate(chosen), self.images.prepared.size
        images = torch.zeros(len(units), self.max_views, 1, size, size, dtype=torch.uint8)
        images[present] = self.images.images(rows)
        views = torch.zeros(len(units), self.max_views, dtype=torch.int64)
        views[present] = torch.from_numpy(self.studies.codes[rows])
        text = {} if self.reports is None else {"text": self.reports.batch(units)}
        return {"images": images, "views": views, "present": present, **text}

    def sampled(self, study: int, rng: np.random.Generator) -> Rows:
        """The study's images, or ``max_views`` of them without replacement."""
        rows = self.studies.images_of(study)
        if len(rows) <= self.max_views:
            return rows
        return np.sort(rng.choice(rows, self.max_views, replace=False))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Counts of studies, by number of images too, of images by view, and of reports."""
        sizes, counts = np.unique(np.diff(self.studies.ends, prepend=0), return_counts=True)
        by_view = np.bincount(self.studies.codes, minlength=len(VIEWS)).tolist()
        reports = {} if self.reports is None else {"reports": self.reports.count}
        return {
            "studies": len(self),
            "images per study": {str(size): int(count) for size, count in zip(sizes, counts, strict=True)},
            "views": dict(zip(VIEWS, by_view, strict=True)),
            **reports,
        }
