"""FaNe's corpus: a study is one of its frontal images and the sentences of its report, in an order drawn anew."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoders.fane.text import (
    LONGEST,
    joined_states,
    joined_tokens,
    split_sentences,
    stacked,
    stacked_states,
)
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import OnDisk
from cxrbench.encoders.pretraining.studies import Studies, group_studies, report_texts
from cxrbench.encoders.text.bert import (
    Bert,
    TextSource,
    load_bert,
    padded,
    sentence_states,
    text_embeddings,
    token_numbers,
)
from cxrbench.errors import UserError
from cxrbench.features.array_cache import cached_array

FRONTAL = ("PA", "AP")


@dataclass(frozen=True)
class Special:
    """The numbers of [CLS], [SEP] and [PAD]; named as a tokeniser names them."""

    cls_token_id: int
    sep_token_id: int
    pad_token_id: int


@dataclass(frozen=True)
class ReportCorpus:
    """A unit is a study with a frontal image and a report.

    ``sentences``: of each study the numbers of its sentences; ``tokens``: of each distinct sentence its token numbers;
    ``states``: of each its token's states [tokens, C], where the text encoder is frozen, else None. ``reports``: of
    each study the vector [C] of the frozen second BERT, which the semantic division compares; both are computed once,
    not once per epoch.
    """

    images: TrainingImages
    studies: Studies
    sentences: tuple[tuple[int, ...], ...]
    tokens: tuple[tuple[int, ...], ...]
    states: tuple[NDArray[np.float16], ...] | None
    reports: NDArray[np.float32]
    special: Special
    source: TextSource

    def __len__(self) -> int:
        return len(self.studies)

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """``images`` of one random frontal image each; ``sentence_index`` [B, T], 1..P, 0 where there is no sentence.

        ``reports`` [B, C], and of the shuffled sentences ``states`` [B, T, C] or ``tokens`` and ``attention`` [B, T].
        """
        images = [rng.choice(self.studies.images_of(int(unit))) for unit, rng in zip(units, rngs, strict=True)]
        shuffled = [rng.permutation(self.sentences[unit]).tolist() for unit, rng in zip(units, rngs, strict=True)]
        result = {"images": self.images.images(np.array(images)), "reports": torch.from_numpy(self.reports[units])}
        if self.states is not None:
            states, index = zip(*(joined_states([self.states[k] for k in order]) for order in shuffled), strict=True)
            return result | {"states": stacked_states(states), "sentence_index": stacked(index)}
        ids, index = zip(
            *(joined_tokens([self.tokens[k] for k in order], self.special) for order in shuffled), strict=True
        )
        tokens, attention = padded(ids, self.special.pad_token_id)
        return result | {"tokens": tokens, "attention": attention, "sentence_index": stacked(index)}

    @property
    def facts(self) -> Mapping[str, Any]:
        """Counts, and which text encoder it was."""
        per_study = [len(numbers) for numbers in self.sentences]
        return {
            "studies": len(self),
            "sentences": sum(per_study),
            "distinct sentences": len(self.tokens),
            "text encoder": asdict(self.source),
        }


def has_sentences(manifest: Manifest, least: int) -> NDArray[np.bool_]:
    """Which images are frontal images of a study whose report has at least ``least`` sentences: bool [images]."""
    images = manifest.images
    if manifest.reports is None:
        return np.zeros(len(images), bool)
    columns = (manifest.reports[name].fillna("").astype(str) for name in ("study_id", "findings", "impression"))
    enough = {
        study
        for study, findings, impression in zip(*columns, strict=True)
        if study and len(split_sentences(f"{findings} {impression}")) >= least
    }
    return (images["view"].isin(FRONTAL) & images["study_id"].isin(sorted(enough))).to_numpy()


def report_corpus(images: TrainingImages, *, text: str, train_text: bool) -> ReportCorpus:
    """The studies of images that ``has_sentences`` let through. Reads every report, on the GPU if there is one.

    ``text``: the BERT (see ``load_bert``). Raises UserError.
    """
    studies = group_studies(images)
    bert = load_bert(text)
    reports = [split_sentences(report) for report in report_texts(images, studies, "report")]
    number: dict[str, int] = {}
    rows = tuple(tuple(number.setdefault(s, len(number)) for s in sentences) for sentences in reports)
    tokens = token_numbers(bert.tokeniser, list(number))
    if not all(tokens):
        raise UserError(f"the tokeniser of {bert.source.name} makes nothing of {list(number)[tokens.index([])]!r}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    whole = [list(chain.from_iterable(tokens[k] for k in row)) for row in rows]
    return ReportCorpus(
        images,
        studies,
        sentences=rows,
        tokens=tuple(map(tuple, tokens)),
        states=None if train_text else tuple(sentence_states(bert, tokens, device, LONGEST)),
        reports=reports_read(bert, whole, device, images),
        special=special_of(bert),
        source=bert.source,
    )


def reports_read(
    bert: Bert, whole: Sequence[Sequence[int]], device: torch.device, images: TrainingImages
) -> NDArray[np.float32]:
    """``text_embeddings`` of whole reports, kept beside the images that were decoded once: a run goes on with them."""

    def read() -> NDArray[np.float32]:
        return text_embeddings(bert, whole, device, LONGEST)

    if not isinstance(images.prepared, OnDisk):
        return read()
    what = json.dumps([bert.source.sha256, bert.source.pooled, LONGEST, [list(row) for row in whole]])
    name = f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.npy"
    return cached_array(images.prepared.path.parent / "reports" / name, read)


def special_of(bert: Bert) -> Special:
    """The special tokens of a BERT."""
    tokeniser = bert.tokeniser
    return Special(tokeniser.cls_token_id, tokeniser.sep_token_id, tokeniser.pad_token_id)
