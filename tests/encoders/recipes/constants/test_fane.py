"""What a dry run prints of FaNe are the numbers of the networks, losses, texts and images of training."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxrbench.encoders.fane import corpus as fane_corpus
from cxrbench.encoders.fane import objective as fane
from cxrbench.encoders.fane.attention import SoftmaxPool
from cxrbench.encoders.fane.division import normalised_similarity
from cxrbench.encoders.fane.losses import hard_negatives
from cxrbench.encoders.fane.text import joined_states, joined_tokens
from cxrbench.encoders.pretraining.method import Batch
from cxrbench.encoders.text.bert import TextSource, load_bert
from support.fane_data import write_bert
from support.measured import IMAGES, WIDE, deviation, draw, method, of_affine, of_vit, share, start_of, told

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH = 256  # of the BERT
SOURCE = TextSource("none", "00", WIDTH, "mean")


def made(arch: str, variant: str, **options: Any) -> fane.FaNe:
    torch.manual_seed(0)
    given = {"variant": variant, "train_text": False, **options}
    built = method("fane").configure(arch, given).objective(SimpleNamespace(source=SOURCE))
    assert isinstance(built, fane.FaNe)
    return built


def temperatures(built: fane.FaNe, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """τ₁ by the scale that is logged, τ₂ and τ₃ as the losses are given them."""
    given: dict[str, float] = {}

    def within(visual: Tensor, sentences: Tensor, present: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        given["tau2"] = temperature
        return torch.zeros(2), torch.ones(2)

    def push(cosines: Tensor, same: Tensor, temperature: float, form: str) -> Tensor:
        given["tau3"] = temperature
        return cosines.new_zeros(())

    tower: Any = built.network.text_tower
    channels = tower.projection.in_features if built.options.text_head == "ours" else 128
    texts = fane.Texts(torch.randn(2, 3, channels), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, channels))
    places = torch.randn(2, 4, built.network.image_encoder.local_width)  # type: ignore[call-overload]
    with monkeypatch.context() as patch:
        patch.setattr(fane, "within_report", within)
        patch.setattr(fane, "hard_negatives", push)
        local = built.local(texts, places)
        logged = built.losses(torch.randn(2, 128), torch.randn(2, 128), torch.randn(2, 8), local).logged
    return {"tau1": pytest.approx(built.options.scale / float(logged["scale"]))} | given


def pool_heads(built: fane.FaNe, monkeypatch: pytest.MonkeyPatch) -> int:
    shapes: list[torch.Size] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def recorded(query: Tensor, *more: Any) -> Tensor:
        shapes.append(query.shape)
        return attend(query, *more)

    tower = built.network.text_tower
    width = tower.report_pool.q_proj.in_features
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.scaled_dot_product_attention", recorded)
        tower.report_pool(torch.randn(1, 3, width))
    return shapes[0][1]


def of_text(built: fane.FaNe, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    tower = built.network.text_tower
    special = SimpleNamespace(cls_token_id=0, sep_token_id=1)
    ids, index = joined_tokens([[7] * 60] * 9, special)
    states, numbers = joined_states([np.zeros((60, 2), np.float16)] * 9)
    assert len(states) + 2 == len(index) == len(numbers) + 2 == len(ids)
    assert (ids[0], ids[-1]) == (0, 1)
    first, image = built.local_text_projection, built.network.global_image_projection
    layer: Any = first if isinstance(first, nn.Linear) else tower.token_projection
    power = math.log(float(layer.weight.detach().std())) / math.log(layer.in_features)
    assert float(image.weight.detach().std()) == deviation_of(image.in_features**power)
    return {
        "text_longest": len(ids),
        "text_dropout": "the BERT's own",  # below
        "pool_heads": pool_heads(built, monkeypatch),
        "pool_start": start_of(tower.report_pool.q_proj.weight, tower.report_pool.q_proj.in_features),
        "projection_std": f"width^{round(power, 1)}",
        "projection_bias": bias_of(layer),
    }


def deviation_of(wanted: float) -> Any:
    return pytest.approx(wanted, rel=0.15)


def bias_of(layer: nn.Linear) -> Any:
    largest = float(layer.bias.detach().abs().max())
    return "U(±n^-½) of n inputs" if largest == pytest.approx(layer.in_features**-0.5, rel=0.05) else largest


def least_sum() -> float:
    """Of two negatives whose s are a and -a: the loss is log(2 + exp(a² / the least denominator))."""
    a = 2e-5
    cosines = torch.tensor([[0, a, -a], [-a, 0, a], [a, -a, 0]], dtype=torch.float64)
    loss = float(hard_negatives(cosines, torch.eye(3, dtype=torch.bool), 1.0, "paper"))
    return a * a / math.log(math.exp(loss) - 2)


def of_augmentation(built: fane.FaNe, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    matrices: list[Tensor] = []
    grid = torch.nn.functional.affine_grid

    def recorded(matrix: Tensor, shape: list[int], **more: Any) -> Tensor:
        matrices.append(matrix)
        return grid(matrix, shape, **more)

    images = torch.zeros(IMAGES, built.preprocess.channels, 4, 4)
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.affine_grid", recorded)
        filtered = of_affine(monkeypatch, lambda: built.augmented(Batch(images, {}), draw()))
    angles = torch.rad2deg(torch.asin(matrices[0][:, 0, 1]))
    return {
        "rotation": pytest.approx(float(angles.abs().max()), rel=0.01),
        "flip_chance": share(matrices[0][:, 0, 0] < 0),
        "affine_filter": filtered,
    }


@pytest.mark.parametrize(
    ("variant", "arch"), [("fixed", WIDE), ("official", WIDE), ("official", "resnet18"), ("paper", "resnet18")]
)
def test_of_fane(variant: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = made(arch, variant)
    tower: Any = built.network.image_encoder
    average = float(normalised_similarity(torch.ones(1, 1, dtype=torch.float64), 0.0))
    whole = temperatures(built, monkeypatch) | of_text(built, monkeypatch)
    whole |= {"division_eps": pytest.approx(1 / average - 1), "mask_norm_eps": built.local_cross_attention.norm.eps}
    if variant == "paper":
        whole["least_sum"] = pytest.approx(least_sum(), rel=1e-3)
    if variant == "official":
        whole |= of_augmentation(built, monkeypatch)
    if arch == "resnet18":
        norms = [part for part in tower.modules() if isinstance(part, nn.BatchNorm2d)]
        ((whole["batch_norm_eps"], whole["batch_norm_momentum"]),) = {(norm.eps, norm.momentum) for norm in norms}
        sides: list[int] = []
        tower.model.conv1.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
        with torch.no_grad():
            tower.eval()(torch.zeros(1, 3, 224, 224))
        whole["enlarged"] = sides[0]
        assert start_of(tower.pool.q_proj.weight, tower.pool.q_proj.in_features) == whole["pool_start"]
    else:
        whole |= of_vit(tower.model, sincos=variant == "fixed")
        whole["token_std"] = deviation(tower.model.cls_token)
        if variant == "official":
            assert deviation(tower.model.pos_embed) == whole["token_std"].expected
    values = told("fane", arch, variant, train_text=True)
    assert values == whole


def test_of_the_pool_of_the_codes_sentences() -> None:
    values = told("fane", WIDE, "official", sentence_pool="attention")
    tower = made(WIDE, "official", sentence_pool="attention").network.text_tower
    assert isinstance(tower.sentence_pool, SoftmaxPool)
    assert tower.sentence_pool.key.in_features / tower.sentence_pool.key.out_features == values["pool_narrowed"]
    assert "pool_narrowed" not in told("fane", WIDE, "official")


def test_the_berts_dropout_is_its_own_and_on(tmp_path: Path) -> None:
    folder = str(write_bert(tmp_path / "bert"))
    source = load_bert(folder).source
    given = {"text": folder, "pool_width": 8, "dim": 16}
    built = method("fane").configure(WIDE, given).objective(SimpleNamespace(source=source))
    bert: Any = built.network.text_tower.bert  # type: ignore[union-attr]
    drops = {part.p for part in bert.modules() if isinstance(part, nn.Dropout)}
    assert drops == {bert.config.hidden_dropout_prob, bert.config.attention_probs_dropout_prob} == {0.1}
    assert bert.training
    assert told("fane", WIDE)["text_dropout"] == "the BERT's own"
    assert "text_dropout" not in told("fane", WIDE, train_text=False)


def test_the_corpus_reads_as_many_tokens_as_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def read(bert: object, rows: Any, device: object, longest: int) -> Any:
        asked.append(longest)
        return np.zeros((len(rows), 2), np.float32)

    monkeypatch.setattr(fane_corpus, "text_embeddings", read)
    images: Any = SimpleNamespace(prepared=None)
    fane_corpus.reports_read(SimpleNamespace(), [[1], [2]], torch.device("cpu"), images)  # type: ignore[arg-type]
    assert asked == [told("fane")["text_longest"]]


def test_temperatures_are_the_papers() -> None:
    assert [told("fane")[f"tau{number}"] for number in (1, 2, 3)] == [0.1, 0.07, 0.07]  # FaNe §4.1
    assert {"tau2", "tau3"} & set(told("fane", WIDE, tc=0, hn=0)) == set()
