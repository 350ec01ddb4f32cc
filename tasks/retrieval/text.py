"""Image to report retrieval and back."""

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.text.sentence_encoder import SentenceEncoder
from cxrbench.errors import NotApplicableError
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Need, OptionName, RunContext, Task, TaskOptions
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.retrieval.studies import (
    cosine,
    counted,
    rank_columns,
    retrieved,
    study_means,
    study_rows,
    trains_on_nothing,
    unit,
)
from cxrbench.tasks.retrieval.text_tower import beside_texts, same_space, text_tower
from cxrbench.tasks.ridge import fit_ridge
from cxrbench.tasks.standardize import Standardizer

LABELS = ("image_to_text", "text_to_image")
STRENGTHS = tuple(float(a) for a in np.logspace(-1, 7, 17))

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TextRetrieval(Task):
    """The ``text-retrieval`` protocol: every test study asks for its report, and every report for its study.

    A study's text is its findings and its impression; its image embedding the mean over its images. Reports that say
    the same thing (equal but for case, white space and punctuation) are one answer: the gallery of ``image_to_text``
    holds each once, and ``text_to_image`` is right with any study of that text.

    An encoder with a text tower is asked as it is (zero-shot; ``encode_text`` against ``pooled``, or against what its
    ``project`` makes of it, both at length one before the mean). For any other one, a ridge map takes standardized
    image embeddings to a frozen sentence encoder's; it is fitted on training studies, its strength has the highest mean
    cosine on validation studies, and cosines are taken about the mean training sentence, which all reports share.
    """

    name: str = "text-retrieval"
    summary: str = "image to report and back: recall@1/5/10, median rank"
    sees_test_truth: bool = True
    needs: tuple[Need, ...] = ("reports",)
    reads: frozenset[OptionName] = frozenset({"text_encoder"})
    sentences: SentenceEncoder = field(default_factory=SentenceEncoder)

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings, and a text tower."""
        return frozenset({"pooled", "network"})

    @property
    def settings(self) -> tuple[str, ...]:
        """The sentence encoder's name, if it is not the default."""
        return (self.sentences.name,) if self.sentences.folder else ()

    @property
    def version(self) -> str:
        """The protocol's own, and the sentence encoder's weights."""
        return f"{self.revision} {self.sentences.fingerprint}".strip()

    def configured(self, options: TaskOptions) -> Task:
        """``text_encoder``: the folder of another sentence encoder. Raises UserError if it is none."""
        if options.text_encoder is None:
            return super().configured(options)
        sentences = SentenceEncoder(options.text_encoder.expanduser())
        sentences.located()
        return replace(self, sentences=sentences).configured(replace(options, text_encoder=None))

    def not_applicable(self, manifest: Manifest) -> str | None:
        """It needs reports of two test studies."""
        if reason := super().not_applicable(manifest):
            return reason
        test = study_texts(manifest)["split"].to_numpy() == "test"
        return "fewer than two of its test studies have a report" if test.sum() < 2 else None

    def seeds_matter(self, fraction: float) -> bool:
        """A seed only draws the training studies."""
        return fraction < 1

    def texts(self, manifest: Manifest) -> list[str]:
        """The reports of the test studies."""
        studies = study_texts(manifest)
        return studies["text"].iloc[np.flatnonzero(studies["split"] == "test")].to_list()

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Embed, map if need be, rank. What is fitted sees training and validation studies only."""
        from cxrbench.tasks.retrieval.ranking import first_ranks

        studies = study_texts(manifest)
        test = np.flatnonzero(studies["split"] == "test")
        tower = text_tower(encoder)
        if tower is None:
            matched = self._mapped(encoder, manifest, cell, studies)
        else:
            trains_on_nothing(cell)
            images = unit(beside_texts(encoder, encoder.pooled(manifest)))
            images = study_means(images, manifest, studies)[test]
            texts = tower(self.texts(manifest))
            same_space(encoder, images, texts)
            note = "with the encoder's own text tower, zero-shot"
            matched = Matched(images, texts.astype(np.float64), 0, note)
        wording, first, group = np.unique(
            [wording_of(text) for text in studies["text"].iloc[test]], return_index=True, return_inverse=True
        )
        distinct = np.arange(len(wording))
        as_often = np.bincount(group)[group]
        columns = {
            **rank_columns(LABELS[0], first_ranks(matched.images, matched.texts[first], group, distinct),
                           np.ones(len(test), np.int64)),
            **rank_columns(LABELS[1], first_ranks(matched.texts, matched.images, group, group), as_often),
        }  # fmt: skip
        notes = (matched.note, f"{counted(studies.iloc[test])} with {len(wording):,} different reports")
        return retrieved(studies.iloc[test], columns, LABELS, encoder, manifest, cell, notes, matched.train_images)

    def _mapped(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell, studies: pd.DataFrame) -> "Matched":
        """A ridge map from image embeddings to sentences. Raises NotApplicableError without studies to fit it on."""
        train, val, test = (np.flatnonzero(studies["split"] == split) for split in ("train", "val", "test"))
        if len(train) < 2 or not len(val):
            raise NotApplicableError("it has no text tower, and there are no training and validation reports for a map")
        patients = studies["patient_id"].to_numpy(str)[train]
        train = train[label_fraction(patients, np.zeros((len(train), 0), np.float32), cell.fraction, cell.seed)]
        texts = embedded(self.sentences, studies["text"].to_list(), encoder.context)
        images = study_means(encoder.pooled(manifest), manifest, studies)
        standardize = Standardizer.of(images[train])
        middle = texts[train].mean(0)
        maps = fit_ridge(standardize(images[train]), texts[train] - middle, STRENGTHS)
        cosines = [cosine(each(standardize(images[val])), texts[val] - middle).mean() for each in maps]
        best = int(np.argmax(cosines))
        note = f"without a text tower, a ridge map to the sentences of {self.sentences.name}"
        used = int(np.isin(manifest.images["study_id"].to_numpy(str), studies["study_id"].to_numpy(str)[train]).sum())
        return Matched(maps[best](standardize(images[test])), texts[test] - middle, used, note)


TASK = TextRetrieval()


class Matched(NamedTuple):
    """Embeddings of the test studies' images and texts [n, D] in one space, and how they got there."""

    images: Array
    texts: Array
    train_images: int
    note: str


def study_texts(manifest: Manifest) -> pd.DataFrame:
    """``study_rows`` of the studies with a report, and its ``text``: findings, then impression."""
    if manifest.reports is None:
        raise NotApplicableError(f"{manifest.name} has no reports")
    columns = (manifest.reports[name].fillna("").astype(str) for name in ("study_id", "findings", "impression"))
    text_of = {
        study: " ".join(f"{findings} {impression}".split())
        for study, findings, impression in zip(*columns, strict=True)
    }
    studies = study_rows(manifest)
    texts = [text_of.get(study, "") for study in studies["study_id"]]
    said = [bool(wording_of(text)) for text in texts]
    return pd.DataFrame(studies.assign(text=texts).loc[said]).reset_index(drop=True)


def wording_of(text: str) -> str:
    """A text without case, punctuation and white space of its own: what says the same thing is equal."""
    return " ".join(re.findall(r"\w+", text.lower()))


def embedded(sentences: SentenceEncoder, texts: list[str], context: RunContext) -> Array:
    """Sentence embeddings [n, D] of texts, each distinct one embedded once and kept in the cache."""
    distinct, codes = np.unique(texts, return_inverse=True)
    return sentences.cached(distinct.tolist(), context.scratch, context.options.device)[codes].astype(np.float64)
