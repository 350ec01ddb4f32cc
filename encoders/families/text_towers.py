"""The text towers of transformers' CLIP and SigLIP: tokens as their repository's tokenizer makes them."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from cxrbench.encoders.families.hub import hub
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import first_line


class ImageTextModel(nn.Module):
    """What an image encoder of such a model has beside it. ``text_tower``: the text model, its projection with it."""

    text_tower: nn.ModuleDict
    repository: str
    revision: str | None
    padding: str | bool
    most_tokens: int

    def take_text_tower(self, model: Any, repository: str, revision: str | None) -> None:
        """Keep the text side of a whole model; its tokenizer is read from ``repository`` when a text comes."""
        self.text_tower = nn.ModuleDict({"text_model": model.text_model})
        self.repository, self.revision = repository, revision
        self.padding = "max_length"  # as SigLIP was trained
        self.most_tokens = int(model.config.text_config.max_position_embeddings)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Text embeddings [len(texts), D], not normalised. Raises UserError without a tokenizer."""
        return self.text_tower["text_model"](**self._tokens(texts)).pooler_output

    def _tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """What the text model takes of what the tokenizer gives."""
        folder = Path(self.repository).is_dir()
        try:
            with nullcontext() if folder else hub():
                tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                    self.repository, trust_remote_code=False, local_files_only=folder, revision=self.revision or "main"
                )
                given = tokenizer(
                    texts, padding=self.padding, truncation=True, max_length=self.most_tokens, return_tensors="pt"
                )
        except Exception as error:  # the hub's client and the tokenizers raise a dozen kinds
            raise UserError(
                f"cannot read the tokenizer of {self.repository} ({type(error).__name__}: {first_line(error)}); fetch "
                "its tokenizer files, too; SigLIP's needs pip install sentencepiece"
            ) from error
        device = next(self.text_tower.parameters()).device
        return {name: given[name].to(device) for name in ("input_ids", "attention_mask") if name in given}


class ProjectedImageTextModel(ImageTextModel):
    """CLIP: texts and images are projected into one space."""

    visual_projection: nn.Module

    def take_text_tower(self, model: Any, repository: str, revision: str | None) -> None:
        """As for any; and both projections. Texts are as long as the longest of a batch."""
        super().take_text_tower(model, repository, revision)
        self.text_tower["text_projection"] = model.text_projection
        self.visual_projection = model.visual_projection
        self.padding = True

    def project(self, pooled: Tensor) -> Tensor:
        """Image embeddings [B, D] of ``pooled`` in the space of ``encode_text``."""
        return self.visual_projection(pooled)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Text embeddings [len(texts), D], projected, not normalised. Raises UserError without a tokenizer."""
        return self.text_tower["text_projection"](super().encode_text(texts))
