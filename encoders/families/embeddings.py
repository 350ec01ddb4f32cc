"""``embeddings:FILE[#NAME]``: what another program has made of the images: models behind an API, or in a hospital."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderPlugin, EncoderRequest, Features, Preprocess
from cxrbench.encoders.sidecar import read_sidecar
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.stored.files import read_embeddings
from cxrbench.features.stored.table import EmbeddingTable
from cxrbench.files.names import some


class Embeddings(nn.Module):
    """A StoredEncoder. Who it is is what the file holds: the numbers are its buffers, the names its attributes.

    ``said``: what the file beside it says.
    """

    def __init__(self, table: EmbeddingTable, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.preprocess, self.card = preprocess, card
        self.images, self.datasets, self.texts = table.images, table.datasets, table.texts
        self.said: list[str] = []
        self.register_buffer("pooled", torch.from_numpy(table.pooled), persistent=False)
        for level, maps in enumerate(table.maps):
            self.register_buffer(f"maps{level}", torch.from_numpy(maps), persistent=False)
        vectors = None if table.text_vectors is None else torch.from_numpy(table.text_vectors)
        self.register_buffer("text_vectors", vectors, persistent=False)

    @property
    def stored_embeddings(self) -> EmbeddingTable:
        """The whole file."""
        buffers = {name: tensor.numpy() for name, tensor in self.named_buffers()}
        maps = tuple(buffers[name] for name in sorted(buffers) if name.startswith("maps"))
        return EmbeddingTable(
            self.images, buffers["pooled"], self.datasets, maps, self.texts, buffers.get("text_vectors")
        )

    def forward(self, images: Tensor) -> Features:
        """Raises NotApplicableError: only the images that the file names have embeddings."""
        raise NotApplicableError("it is a file of embeddings, not a network that could be shown an image")


class EmbeddingsWithTexts(Embeddings):
    """With embeddings of texts, for zero-shot classification and text retrieval."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """The vectors [len(texts), D] of texts, letter for letter. Raises UserError that names the absent ones."""
        row = {text: i for i, text in enumerate(self.texts)}
        if absent := [text for text in texts if text not in row]:
            raise UserError(
                f"the file has no embedding for {len(absent):,} of {len(texts):,} texts: {some(absent)}; add rows of "
                "them, letter for letter"
            )
        vectors: Tensor = self.text_vectors  # type: ignore[assignment]
        return vectors[[row[text] for text in texts]]


def load(request: EncoderRequest) -> Embeddings:
    """Read ``FILE`` and what ``FILE.toml`` says of it. Raises UserError."""
    if request.variant is None or request.weights is not None:
        raise UserError("embeddings needs a file: embeddings:FILE.parquet, .npz or .h5, and #NAME if it holds several")
    path, name = split(request.variant)
    table = read_embeddings(path, name)
    sidecar = read_sidecar(path).of_one_pooling()
    if table.maps and not {"size", "resize"} <= sidecar.said.keys():
        raise UserError(
            f"{path} holds maps: say in {sidecar.path.name} how the images came to the square that they are of, "
            'e.g. size = 224 and resize = "pad" (or "squash")'
        )
    card = sidecar.card(EncoderCard(method=path.stem))
    if "pretrained_on" not in sidecar.said:
        told = "assumed, for nobody says it: that its model has seen no X-rays of the data sets here; say it in"
        told += f' {sidecar.path.name}: pretrained_on = ["mimic"], or [] for none'
        card = replace(card, assumed=(*card.assumed, told))
    encoder = (EmbeddingsWithTexts if table.texts else Embeddings)(table, sidecar.applied(Preprocess()), card)
    encoder.said = sorted(map(str, sidecar.said.items()))  # a part of its identity: marks rest on it
    return encoder


def split(variant: str) -> tuple[Path, str | None]:
    """``FILE#NAME`` as a path and a name; a ``#`` in the name of an existing file is a part of it."""
    whole = Path(variant).expanduser()
    if whole.exists() or "#" not in variant:
        return whole, None
    file, _, name = variant.rpartition("#")
    return Path(file).expanduser(), name or None


PLUGIN = EncoderPlugin(
    load=load,
    summary="embeddings that another program has made, by image id or path (Parquet, npz, HDF5)",
    usage="embeddings:FILE[#NAME]",
)
