"""FaNe ``official`` gives what its authors' code gives for the same weights, images, states of words and reports.

Numbers: Aventador8/FaNe at 3dbfb603f94c18d6c58ad26289af78bf2adf70ab, codes/fane: models/fane.py
(``Fane.training_step``, 64 numbers in common), modules/ and utils/semantic_similarity.py, around encoders/image/vits.py
(40 px, patches of 4, 96 wide, 3 blocks, 3 heads) or encoders/image/resnet_encoder.py (``ResEncoder``, its ResNet of one
basic block a stage, its pool 512 wide). The text encoder gave states and the frozen BERT embeddings that were made from
the formula. torch 2.14, timm 1.0, float32.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.fane.division import SemanticDivision, normalised_similarity
from cxrbench.encoders.fane.image import ResNetConfig, build_image_tower
from cxrbench.encoders.fane.objective import FaNe
from cxrbench.encoders.fane.options import OPTIONS
from cxrbench.encoders.pretraining.method import Batch
from cxrbench.encoders.text.bert import TextSource
from support.golden import FormulaDraw, agree, digest, fill, gradient_norm, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(96, 3, 3, patch=4, size=40, channels=3, learned_positions=True)
PAIRS, TOKENS, WIDTH, DIM = 5, 14, 96, 64
LENGTHS = [[3, 2, 4], [5], [2, 2, 2, 2], [1, 6], [4, 3, 1]]  # tokens of each report's sentences
PUBLIC = {
    "loss": 40.8556023,
    "mp": 32.0851936,
    "hn": 6.99461651,
    "tc": 1.06746674,
    "spa": 0.708324909,
    "positives": 1.4,  # the first and the fourth report say the same
    "gradient": 172.979886,
    "image": (17.2311852, -3.62239827, -0.291182697),
    "report": (7.70307615, -5.3977606, 0.336907387),
    "sentences": (19.4876318, 8.55536213, -0.705918491),
    "tau": -1.44744575,
    "beta": -3.58528304,
    "positions": (9.64912502, 13.5684029, 0.261540771),
    "average": 0.602304459,
}
MEMORY = [0.7002063989639282, 0.7051851749420166, 0.7068796157836914]
SIMILARITY = [
    (6.117015954662293, -5.79016022386784, 0.9999966025352478),
    (4.285191724297259, -5.7258658184786775, 0.9999963641166687),
    (5.58547322452002, -4.998403345214872, 0.9999961256980896),
]
RESNET = {
    "pooled": (14.287865, -14.4032836, 0.783910394),
    "places": (307.45529, 326.93119, 0.0),
}


def sentence_index() -> Tensor:
    """Of the tokens [CLS] sentences [SEP] padding: the number of each one's sentence, 0 of none."""
    index = torch.zeros(PAIRS, TOKENS, dtype=torch.long)
    for row, lengths in zip(index, LENGTHS, strict=True):
        numbers = [k for k, count in enumerate(lengths, 1) for _ in range(count)]
        row[1 : 1 + len(numbers)] = torch.tensor(numbers)
    return index


def test_official_is_the_authors_code() -> None:
    options = OPTIONS.read({"variant": "official", "augment": "false", "train_text": "false", "dim": str(DIM)})
    corpus: Any = SimpleNamespace(source=TextSource("formula", "", WIDTH, "pooler"))
    method = FaNe(ARCH, options, corpus)
    fill(method)
    reports = inputs("reports", PAIRS, 16).clone()
    reports[3] = reports[0] + 0.1 * reports[1]
    images, states = inputs("images", PAIRS, 3, 40, 40), inputs("states", PAIRS, TOKENS, WIDTH)
    more = {"states": states, "sentence_index": sentence_index(), "reports": reports}
    loss = method(Batch(images, more), FormulaDraw())
    loss.value.backward()
    texts = method.network.text_tower(states, sentence_index())
    assert method.tau.grad is not None
    assert method.beta.grad is not None
    agree(
        {
            "loss": loss.value.item(),
            "gradient": gradient_norm(method),
            "image": digest(method.network.global_image_projection(method.network.image_encoder(images).pooled)),
            "report": digest(texts.reports),
            "sentences": digest(texts.sentences[texts.present]),
            "tau": method.tau.grad.item(),
            "beta": method.beta.grad.item(),
            "positions": digest(method.network.image_encoder.model.pos_embed.grad),  # type: ignore[arg-type]
            "average": method.division.memory.item(),
        }
        | {name: loss.logged[name].item() for name in ("mp", "hn", "tc", "spa", "positives")},
        PUBLIC,
    )


def test_semantic_division_over_three_batches_is_the_authors_code() -> None:
    division = SemanticDivision(alpha=0.05)
    for k, (memory, similarity) in enumerate(zip(MEMORY, SIMILARITY, strict=True)):
        t = nn.functional.normalize(inputs(f"reports {k}", PAIRS, 16) + 1)
        average = division.average(t)
        agree(
            {"memory": division.memory.item(), "similarity": digest(normalised_similarity(t @ t.T, average))},
            {"memory": memory, "similarity": similarity},
        )


def test_resnet_is_the_authors_code() -> None:
    """Enlarged to 299 px, batch norms of the batch, the places of layer3, CLIP's attention pool of layer4."""
    tower = build_image_tower(ResNetConfig((1, 1, 1, 1), bottleneck=False))
    fill(tower)
    with torch.no_grad():
        seen = tower(inputs("images", 1, 3, 224, 224))
    agree({"pooled": digest(seen.pooled), "places": digest(seen.places)}, RESNET)
