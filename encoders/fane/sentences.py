"""Where a sentence looks: FaNe's sparse attention, which only a training checkpoint keeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.checkpoint import KEPT, read_encoder
from cxrbench.encoders.fane.attention import SparseAttentionPool
from cxrbench.encoders.fane.encoder import FaNeConfig, FaNeEncoder, FaNeNetwork
from cxrbench.encoders.fane.text import projection
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict, read_checkpoint

LOCAL = ("local_image_projection", "local_text_projection", "local_cross_attention")
STATE, OBJECTIVE = "state_dict", "objective."
"""Where a Lightning checkpoint of ours has what is trained."""


class FaNeSentences(nn.Module):
    """Both towers, and the local projections and attention by which a sentence meets the patches (eq. 8)."""

    def __init__(self, encoder: FaNeEncoder, options: Mapping[str, Any]) -> None:
        super().__init__()
        config = encoder.config
        self.encoder, self.preprocess = encoder, encoder.preprocess
        self.local_image_projection = projection(encoder.image_encoder.local_width, config.dim)  # type: ignore[arg-type]
        wide = config.head == "ours"
        self.local_text_projection = projection(config.text.width, config.dim) if wide else nn.Identity()
        self.local_cross_attention = SparseAttentionPool(config.dim, options["mask_mode"])

    def attend(self, images: Tensor, sentences: Sequence[str]) -> Tensor:
        """A batch [B, channels, size, size] and P sentences of one report to A of eq. 8, [B, P, rows, columns].

        A = σ(q kᵀ / √D), masked as in the training: in (0, 1), each patch by itself, no shares of a whole. Raises
        NotApplicableError where the text encoder is not here, UserError where a sentence is empty, or one too many.
        """
        if empty := [sentence for sentence in sentences if not sentence.strip()]:
            raise UserError(f"a sentence is {empty[0]!r}: give it words")
        texts = self.encoder.texts([sentences])
        if (fitting := texts.sentences.shape[1]) != len(sentences):
            raise UserError(f"a report takes the first {fitting} of these {len(sentences)} sentences: give fewer")
        places = self.encoder.image_encoder(images).places
        asked = self.local_text_projection(texts.sentences).expand(len(images), -1, -1)
        attention = self.local_cross_attention(asked, self.local_image_projection(places)).attention
        side = round(attention.shape[2] ** 0.5)
        return attention.unflatten(2, (side, side))


def open_sentences(request: EncoderRequest) -> FaNeSentences:
    """``fane@RUN/last.ckpt``. Raises UserError for weights that keep the encoder alone."""
    path = Path(request.weights or "").expanduser()
    if request.variant is not None:
        raise UserError(f"fane:{request.variant}: sentences look at patches, wherever it is read: leave it out")
    if request.weights is None or path.suffix == ".safetensors":
        raise UserError(
            f"{path.name or 'fane'} keeps no attention of sentences: the checkpoint of its training does, "
            "fane@RUN/last.ckpt"
        )
    found, content = read_encoder(path, "fane"), read_checkpoint(path)
    if found.architecture is None or found.preprocess is None or KEPT not in content:
        raise UserError(f"{path} does not say by which text encoder it was trained: name a last.ckpt of ours")
    network = FaNeNetwork(FaNeConfig.from_plain(found.architecture))
    load_strict(network, found.state, path)
    sentences = FaNeSentences(FaNeEncoder(network, found.preprocess, found.card), found.facts["options"])
    trained = {name.removeprefix(OBJECTIVE): value for name, value in content[STATE].items()}
    for part in LOCAL:
        begin = f"{part}."
        own = {name.removeprefix(begin): value for name, value in trained.items() if name.startswith(begin)}
        load_strict(sentences.get_submodule(part), own, path)
    return sentences.eval().requires_grad_(False)
