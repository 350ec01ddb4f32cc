"""FaNe as an encoder: our files, those of its code, texts, and a text encoder that is not there."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torchvision.models import resnet18

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.fane.encoder import FaNeConfig, FaNeEncoder, FaNeImageEncoder, FaNeNetwork, load
from cxrbench.encoders.fane.image import ResNetConfig, build_image_tower, image_preprocess, infer_image_config
from cxrbench.encoders.fane.objective import METHOD, PLUGIN, FaNe
from cxrbench.encoders.fane.text import split_sentences
from cxrbench.encoders.pretraining.engine.beginning import begin
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, make_corpus, pretrain
from cxrbench.encoders.pretraining.engine.trainer import as_batch
from cxrbench.encoders.pretraining.initial import read_initial
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.checkpoints import read_checkpoint
from cxrbench.plugins.identity import count_parameters, weights_sha256
from support.fane_data import write_bert, write_studies

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = "64x4p8s24"
SMALL = ResNetConfig((1, 1, 1, 1), bottleneck=False, size=48)
TEXTS = ["There is no heart. There is rib.", "Nodule", "There is mass. " * 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fane")
    write_bert(path / "bert")
    return path


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return write_studies(folder)


def options(folder: Path, run: str) -> dict[str, Any]:
    """Of the run ``frozen``, ``trained`` or ``official``, by what its text side is."""
    head = {"text_head": "official"} if run == "official" else {"pool_width": 8}
    return {"text": str(folder / "bert"), "train_text": run == "trained", "min_sentences": 3, "dim": 16} | head


@pytest.fixture(scope="module", params=["frozen", "trained", "official"])
def run(request: pytest.FixtureRequest, folder: Path, manifest: Manifest) -> Path:
    """A finished run, with a frozen and with a trained text encoder, and a frozen one under the official head."""
    config = PretrainConfig("fane", ARCH, epochs=1, batch_size=4, precision="32", accelerator="cpu",
                            options=options(folder, request.param))  # fmt: skip
    out = folder / request.param
    pretrain(config, [manifest], out, cache=folder / "images")
    return out


def test_a_run_is_an_encoder_from_either_file(run: Path) -> None:
    first, second = (
        load_encoder(f"fane@{run / name}", synthetic=False) for name in ("encoder.safetensors", "last.ckpt")
    )
    assert first.spec.weights_sha256 == second.spec.weights_sha256
    assert first.spec.card.pretrained_on == ("toy",)
    images = torch.randn(2, 1, 24, 24)
    features = first.module(images)
    tokens, maps = first.module.image_encoder.model(images)  # type: ignore[attr-defined]
    torch.testing.assert_close(features.pooled, tokens[:, 0])
    assert [tuple(m.shape) for m in features.maps] == [(2, 64, 3, 3)] * 4
    for got, expected in zip(features.maps, maps, strict=True):
        torch.testing.assert_close(got, expected)
    mean, cls = (load(EncoderRequest("fane", at, str(run / "last.ckpt"))).eval() for at in ("mean", "cls"))
    torch.testing.assert_close(mean(images).pooled, tokens[:, 1:].mean(dim=1))
    torch.testing.assert_close(cls(images).pooled, tokens[:, 0])
    assert not hasattr(mean, "encode_text")  # its embeddings are in no space with texts
    assert hasattr(cls, "encode_text")


def test_a_frozen_text_encoder_is_not_in_the_file(run: Path, folder: Path) -> None:
    state = load_file(run / "encoder.safetensors")
    trained = run.name == "trained"
    assert any(name.startswith("text_tower.bert.") for name in state) == trained
    encoder = load(EncoderRequest("fane", None, str(run / "encoder.safetensors")))
    assert isinstance(encoder, FaNeEncoder)
    tower = sum(p.numel() for p in encoder.text_tower.parameters())
    assert count_parameters(encoder) == sum(p.numel() for p in encoder.parameters()) - tower


def test_texts_are_read_as_in_training(run: Path, folder: Path, manifest: Manifest) -> None:
    encoder: Any = load(EncoderRequest("fane", None, str(run / "encoder.safetensors"))).eval()
    blueprint = METHOD.configure(ARCH, options(folder, run.name))
    corpus: Any = make_corpus(PretrainConfig("fane", ARCH), blueprint, [manifest], folder / "images", None)[0]
    objective = blueprint.objective(corpus)
    assert isinstance(objective, FaNe)
    objective.network.load_state_dict(load_file(run / "encoder.safetensors"))
    objective.eval()

    class InOrder:
        def permutation(self, numbers: Any) -> Any:
            return np.asarray(numbers)

        def choice(self, numbers: Any) -> Any:
            return numbers[0]

    rngs: Any = [InOrder()] * 4
    batch = as_batch(corpus.batch(np.arange(4), rngs), objective.preprocess)
    tables = manifest.reports
    assert tables is not None
    said = tables.set_index("study_id")
    reports = [f"{said.loc[s, 'findings']} {said.loc[s, 'impression']}" for _, s in corpus.studies.keys[:4]]
    with torch.no_grad():
        expected = objective.network.text_tower.projection(objective.texts(batch).reports)
        texts = encoder.encode_text(reports)
        torch.testing.assert_close(texts, F.normalize(expected, dim=1), atol=1e-5, rtol=1e-4)
        seen = objective.network.image_encoder(batch.images)
        image = F.normalize(objective.network.global_image_projection(seen.pooled), dim=1)
        torch.testing.assert_close(encoder.project(encoder(batch.images).pooled), image)
    assert texts.shape == (4, 16)


def test_texts_of_any_length_and_the_identity_stays(run: Path) -> None:
    encoder: Any = load(EncoderRequest("fane", None, str(run / "encoder.safetensors"))).eval().requires_grad_(False)
    before = weights_sha256(encoder)
    texts = encoder.encode_text([*TEXTS, "", " \n"])
    assert texts.shape == (5, 16)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(encoder.encode_text([" "]), texts[3:4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.encode_text(TEXTS[1:2]), texts[1:2], atol=1e-5, rtol=1e-4)
    assert weights_sha256(encoder) == before


def test_sentences_look_where_they_looked_in_training(run: Path, folder: Path, manifest: Manifest) -> None:
    assert PLUGIN.sentences is not None
    opened: Any = PLUGIN.sentences(EncoderRequest("fane", None, str(run / "last.ckpt")))
    blueprint = METHOD.configure(ARCH, options(folder, run.name))
    corpus: Any = make_corpus(PretrainConfig("fane", ARCH), blueprint, [manifest], folder / "images", None)[0]
    objective: Any = blueprint.objective(corpus)
    trained = read_checkpoint(run / "last.ckpt")["state_dict"]
    objective.load_state_dict({name.removeprefix("objective."): value for name, value in trained.items()})
    objective.eval()

    class InOrder:
        def permutation(self, numbers: Any) -> Any:
            return np.asarray(numbers)

        def choice(self, numbers: Any) -> Any:
            return numbers[0]

    rngs: Any = [InOrder()]
    batch = as_batch(corpus.batch(np.arange(1), rngs), objective.preprocess)
    assert manifest.reports is not None
    said = manifest.reports.set_index("study_id").loc[corpus.studies.keys[0][1]]
    sentences = split_sentences(f"{said['findings']} {said['impression']}")
    with torch.no_grad():
        seen, texts = objective.network.image_encoder(batch.images), objective.texts(batch)
        asked = objective.local_text_projection(texts.sentences)
        expected = objective.local_cross_attention(asked, objective.local_image_projection(seen.places)).attention
        found = opened.attend(batch.images, sentences)
        both = opened.attend(batch.images.repeat(2, 1, 1, 1), sentences)
    assert found.shape == (1, len(sentences), 3, 3)
    torch.testing.assert_close(found.flatten(2), expected[:, : len(sentences)], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[1:], found)
    with pytest.raises(UserError, match=r"a sentence is ' ': give it words"):
        opened.attend(batch.images, ["There is rib.", " "])
    with pytest.raises(UserError, match="a report takes the first"):
        opened.attend(batch.images, ["There is rib ." * 20, "There is heart."] * 4)


def test_weights_that_keep_no_attention_of_sentences_are_refused(run: Path, tmp_path: Path) -> None:
    ask: Any = PLUGIN.sentences
    for name, why in (("encoder.safetensors", "keeps no attention of sentences"), ("none.ckpt", "no weights file")):
        with pytest.raises(UserError, match=why):
            ask(EncoderRequest("fane", None, str(run / name)))
    with pytest.raises(UserError, match=r"RUN/last\.ckpt"):
        ask(EncoderRequest("fane", None, None))
    with pytest.raises(UserError, match="fane:mean: sentences look at patches"):
        ask(EncoderRequest("fane", "mean", str(run / "last.ckpt")))
    torch.save({"state_dict": {"image_encoder.model.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="does not say by which text encoder"):
        ask(EncoderRequest("fane", None, str(tmp_path / "other.ckpt")))


def test_without_its_text_encoder_images_can_still_be_embedded(run: Path, folder: Path) -> None:
    path = str(run / "encoder.safetensors")
    encoder: Any = load(EncoderRequest("fane", None, path)).eval()
    shutil.move(folder / "bert", folder / "elsewhere")
    try:
        other: Any = load(EncoderRequest("fane", None, path)).eval()
        assert weights_sha256(other) == weights_sha256(encoder)
        assert other(torch.zeros(1, 1, 24, 24)).pooled.shape == (1, 64)
        with pytest.raises(NotApplicableError, match=r"its text encoder .*bert is not here"):
            other.encode_text(TEXTS)
        write_bert(folder / "bert", seed=1)
        with pytest.raises(NotApplicableError, match="with weights"):
            other.encode_text(TEXTS)
        shutil.rmtree(folder / "bert")
    finally:
        shutil.move(folder / "elsewhere", folder / "bert")
    assert other.encode_text(TEXTS).shape == (3, 16)


def test_errors_are_one_line(run: Path, tmp_path: Path) -> None:
    path = run / "encoder.safetensors"
    with pytest.raises(UserError, match=r"fane:joint: the part after the colon is the pooling: mean, cls or mean\+sd"):
        load(EncoderRequest("fane", "joint", str(path)))
    with pytest.raises(UserError, match="fane has no weights for real images: pretrain with"):
        load(EncoderRequest("fane", None, None))
    torch.save({"state_dict": {"image_encoder.model.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="holds no ResNet with its attention pool"):
        load(EncoderRequest("fane", None, str(tmp_path / "other.pt")))


# The layout of the paper's code


def extras() -> dict[str, torch.Tensor]:
    """What else is in its state dict."""
    names = ("global_image_projection.weight", "global_text_projection.weight", "local_image_projection.weight",
             "local_text_projection.weight", "local_cross_attention.mlp.0.weight", "tau", "beta",
             "global_text_attention.attention.weight", "image_encoder.global_embed.head.0.weight",
             "text_encoder.encoder.embeddings.word_embeddings.weight", "tool_bert.pooler.dense.weight")  # fmt: skip
    return {name: torch.zeros(2) for name in names}


def test_published_resnet_loads_strictly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = build_image_tower(SMALL).eval()
    state = {f"image_encoder.{name}": value for name, value in tower.state_dict().items()}
    torch.save({"state_dict": state | extras(), "epoch": 3}, tmp_path / "fane.ckpt")
    encoder = load(EncoderRequest("fane", None, str(tmp_path / "fane.ckpt"))).eval()
    assert type(encoder) is FaNeImageEncoder
    assert (encoder.preprocess.size, encoder.preprocess.mean) == (48, (0.4755, 0.4755, 0.406))
    assert encoder.card.pretrained_on == ("mimic",)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).pooled, tower(images).pooled)
    with pytest.raises(UserError, match="fane:mean: a ResNet has no tokens"):
        load(EncoderRequest("fane", "mean", str(tmp_path / "fane.ckpt")))
    names = [name for name in state if name.endswith("layer2.0.conv1.weight")]
    torch.save({"state_dict": {n: v for n, v in state.items() if n not in names}}, tmp_path / "less.ckpt")
    with pytest.raises(UserError, match=r"1 missing: image_encoder\.model\.layer2\.0\.conv1\.weight"):
        load(EncoderRequest("fane", None, str(tmp_path / "less.ckpt")))
    torch.save({"state_dict": state | {"image_encoder.model.layer9.weight": torch.zeros(1)}}, tmp_path / "more.ckpt")
    with pytest.raises(UserError, match="1 unexpected"):
        load(EncoderRequest("fane", None, str(tmp_path / "more.ckpt")))


def test_published_vit_loads_strictly(tmp_path: Path) -> None:
    backbone = ViT(ViTConfig(64, 4, 1, 8, 24, 3)).eval()
    state = {f"image_encoder.model.{name}": value for name, value in backbone.state_dict().items()}
    torch.save({"state_dict": state | extras()}, tmp_path / "fane.ckpt")
    encoder = load(EncoderRequest("fane", None, str(tmp_path / "fane.ckpt"))).eval()
    images = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).pooled, backbone(images)[0][:, 0])


# Starting points


def test_the_stages_are_torchvisions_on_enlarged_images() -> None:
    torch.manual_seed(0)
    reference = resnet18().eval()
    tower: Any = build_image_tower(ResNetConfig((2, 2, 2, 2), False, 64)).eval()
    tower.model.load_state_dict({n: v for n, v in reference.state_dict().items() if not n.startswith("fc.")})
    images = torch.randn(2, 3, 64, 64)
    enlarged = F.interpolate(images, size=(85, 85), mode="bilinear", align_corners=True)
    with torch.no_grad():
        last = tower(images).maps[3]
        torch.testing.assert_close(reference.fc(last.mean(dim=(2, 3))), reference(enlarged))


@pytest.mark.parametrize("arch", [ARCH, "resnet18-64"])
def test_its_backbone_begins_from_given_weights(arch: str, tmp_path: Path, folder: Path, manifest: Manifest) -> None:
    torch.manual_seed(1)
    vit = arch == ARCH
    source: Any = ViT(ViTConfig(64, 4, 1, 8, 24, 1)) if vit else resnet18()
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    blueprint = METHOD.configure(arch, options(folder, "frozen"))
    corpus = make_corpus(PretrainConfig("fane", arch), blueprint, [manifest], folder / "images", None)[0]
    objective: Any = blueprint.objective(corpus)
    initial = read_initial(str(tmp_path / "weights.pth"))
    assert begin(objective, blueprint, initial, print)["weights"] == initial.name
    assert objective.inherited == initial.card
    begun = objective.network.image_encoder.model.state_dict()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in begun.items())


@pytest.mark.parametrize("size", [64, 224, 337, 480])
def test_the_size_of_a_published_resnet_has_its_pools_places(size: int) -> None:
    config = ResNetConfig((2, 2, 2, 2), False, size)
    with torch.device("meta"):
        state = build_image_tower(config).state_dict()
    assert infer_image_config(state, "x").side == config.side


def test_untrained_follows_from_its_seed() -> None:
    first, again, other = (METHOD.untrained(ARCH, seed) for seed in (0, 0, 1))
    images = torch.randn(1, 1, 24, 24)
    torch.testing.assert_close(first(images).pooled, again(images).pooled)
    assert (first(images).pooled != other(images).pooled).any()
    assert not hasattr(first, "encode_text")
    assert image_preprocess(ResNetConfig()).channels == 3


def test_the_architecture_is_enough_to_build_the_network(folder: Path, manifest: Manifest) -> None:
    for text, arch in (("official", "resnet18-32"), ("trained", ARCH)):
        blueprint = METHOD.configure(arch, options(folder, text))
        corpus = make_corpus(PretrainConfig("fane", arch), blueprint, [manifest], folder / "images", None)[0]
        objective = blueprint.objective(corpus)
        with torch.device("meta"):
            network = FaNeNetwork(FaNeConfig.from_plain(objective.architecture()))
        network.load_state_dict(objective.kept().state_dict(), assign=True)
