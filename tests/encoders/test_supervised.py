"""The supervised baseline: labels of several data sets, their loss, and what the backbone learns of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss, roc_auc_score
from timm.models.vision_transformer import VisionTransformer

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.engine.prepared import OnDisk, training_rows
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.encoders.pretraining.labelled import LabelledImages, has_a_label, labelled_images
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.encoders.supervised import OPTIONS, Supervised, known_cross_entropy, load
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_metadata

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=64, depth=4, heads=1, patch=4, size=24, channels=1)
NAN = float("nan")


def manifest(name: str, labels: dict[str, list[float]], **facts: Any) -> Manifest:
    count = len(next(iter(labels.values()), [0, 0, 0, 0]))
    table = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(count)], "patient_id": [f"p{k}" for k in range(count)],
            "study_id": "", "view": "PA", "split": "train", "path": [f"{k}.png" for k in range(count)], "bytes": 1,
        }
    )  # fmt: skip
    return Manifest(name, Path("/nowhere"), table.assign(**labels), tuple(labels), **facts)


def images_of(*manifests: Manifest, eligible: Any = has_a_label) -> TrainingImages:
    rows = training_rows(manifests, eligible=eligible)
    return TrainingImages(OnDisk(Path("/nowhere"), 24, len(rows)), rows, {m.name: m for m in manifests})


def draw() -> Draw:
    return Draw(torch.Generator().manual_seed(0))


def corpus(targets: list[list[float]]) -> LabelledImages:
    array = np.array(targets, np.float32)
    labels = tuple(f"label{k}" for k in range(array.shape[1]))
    return LabelledImages(images_of(manifest("x", {"y": [0.0] * len(array)})), labels, array)


def objective(known: LabelledImages, **options: object) -> Supervised:
    torch.manual_seed(0)
    return Supervised(ARCH, OPTIONS.read(options), known).eval()


# Labels


def test_labels_are_united_by_name() -> None:
    first = manifest("first", {"Pleural_Thickening": [1, 0, NAN, 1], "Edema": [0, 0, 1, NAN]})
    second = manifest("second", {"EDEMA": [1, NAN], "pleural thickening": [NAN, 0], "Nodule": [1, 0]})
    united = labelled_images(images_of(first, second))
    assert united.labels == ("Pleural_Thickening", "Edema", "Nodule")
    expected = [[1, 0, NAN], [0, 0, NAN], [NAN, 1, NAN], [1, NAN, NAN], [NAN, 1, 1], [0, NAN, 0]]
    np.testing.assert_array_equal(united.targets, np.array(expected, np.float32))
    assert united.facts == {"labels": {"Pleural_Thickening": 2, "Edema": 2, "Nodule": 1}, "unknown_targets": 0.4444}
    assert (united.positives.tolist(), united.negatives.tolist()) == ([2, 2, 1], [2, 2, 1])


def test_images_of_no_known_label_are_left_out_and_rows_keep_their_targets() -> None:
    partly = manifest("partly", {"A": [1, NAN, 0, NAN, 1], "B": [NAN, NAN, 1, 0, 1]})
    assert has_a_label(partly).tolist() == [True, False, True, True, True]
    united = labelled_images(images_of(partly))
    assert united.images.rows["image_id"].tolist() == ["i0", "i2", "i3", "i4"]
    np.testing.assert_array_equal(united.targets, np.array([[1, NAN], [0, 1], [NAN, 0], [1, 1]], np.float32))
    shuffled = replace(united.images, rows=united.images.rows.iloc[::-1].reset_index(drop=True))
    np.testing.assert_array_equal(labelled_images(shuffled).targets, united.targets[::-1])


def test_multiclass_is_one_label_per_class() -> None:
    classes = {"normal": [1.0, 0, 0, 1], "covid": [0.0, 1, 0, 0], "tb": [0.0, 0, 1, 0]}
    assert labelled_images(images_of(manifest("kinds", classes, kind="multiclass"))).labels == ("normal", "covid", "tb")


def test_two_spellings_of_one_label_in_a_data_set() -> None:
    united = labelled_images(images_of(manifest("double", {"Mass": [1, 0, NAN, 0], "mass": [0, NAN, 1, 0]})))
    assert united.labels == ("Mass",)
    assert united.targets[:, 0].tolist() == [1, 0, 1, 0]


def test_labels_that_do_not_vary_are_left_out() -> None:
    united = labelled_images(images_of(manifest("x", {"always": [1, 1, NAN], "never": [0, 0, 0], "both": [0, 1, 1]})))
    assert united.labels == ("both",)


def test_data_without_labels_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="clinic has no labels"):
        images_of(manifest("clinic", {}))
    with pytest.raises(UserError, match="clinic: there are no training images"):
        images_of(manifest("clinic", {"A": [NAN, NAN]}))
    with pytest.raises(UserError, match="no label of clinic is both present and absent"):
        labelled_images(images_of(manifest("clinic", {"A": [0.0, 0.0]})))


# The loss


def test_loss_is_the_mean_cross_entropy_of_known_targets() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    targets = (torch.rand(6, 3, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    unknown = torch.rand(6, 3, generator=torch.Generator().manual_seed(3)) < 0.4
    loss = known_cross_entropy(logits, targets.masked_fill(unknown, NAN))
    scores = logits.sigmoid().double()[~unknown].numpy()
    assert float(loss) == pytest.approx(log_loss(targets[~unknown].numpy(), scores, labels=[0, 1]), rel=1e-5)
    assert float(known_cross_entropy(torch.zeros(2, 3), torch.tensor([[1, NAN, 0], [NAN, NAN, 1]]))) == pytest.approx(
        float(np.log(2))
    )


def test_unknown_targets_send_no_gradient() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    targets = torch.tensor([[1, NAN, 0], [NAN, NAN, NAN], [0, 1, NAN], [1, 1, 1]])
    (gradient,) = torch.autograd.grad(known_cross_entropy(logits, targets), logits)
    assert gradient[targets.isnan()].abs().max() == 0
    assert (gradient[~targets.isnan()] != 0).all()
    nothing = known_cross_entropy(logits, torch.full((4, 3), NAN))
    assert float(nothing.detach()) == 0
    assert torch.autograd.grad(nothing, logits)[0].abs().max() == 0


def test_two_processes_of_unequal_knowledge_average_to_the_joined_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[1, 0], [0, 1], [NAN, 1], [NAN, NAN]])
    whole = known_cross_entropy(logits, targets)
    monkeypatch.setattr("cxrbench.encoders.supervised.gather_batch", lambda mine: torch.tensor([4.0, 1.0]))
    halves = [known_cross_entropy(logits[rows], targets[rows]) for rows in (slice(2), slice(2, 4))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_positive_weight_is_negatives_per_positive() -> None:
    targets = [[1.0, 0.0], [0.0, 0.0], [0.0, NAN], [0.0, 1.0]]
    model = objective(corpus(targets), pos_weight=True)
    assert model.pos_weight is not None
    assert model.pos_weight.tolist() == [3.0, 2.0]
    # All logits 0: each label's positives weigh as much as its negatives, log 2 each.
    loss = known_cross_entropy(torch.zeros(4, 2), torch.tensor(targets), model.pos_weight)
    assert float(loss) == pytest.approx(float(np.log(2)) * (3 + 3 + 2 + 2) / 7)
    assert objective(corpus(targets)).pos_weight is None


# The network


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_logits_are_timms(pooling: str) -> None:
    model = objective(corpus([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), pooling=pooling)
    theirs = VisionTransformer(
        img_size=24, patch_size=4, in_chans=1, embed_dim=64, depth=4, num_heads=1, num_classes=3, fc_norm=False,
        global_pool="token" if pooling == "cls" else "avg",
    ).eval()  # fmt: skip
    state = model.backbone.state_dict() | {f"head.{k}": v for k, v in model.head.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    images = torch.randn(3, 1, 24, 24)
    torch.testing.assert_close(model.logits(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_weight() -> None:
    model = objective(corpus([[1.0, 0.0], [0.0, 1.0]]))
    batch = Batch(torch.randn(2, 1, 24, 24), {"targets": torch.tensor([[1.0, NAN], [0.0, 1.0]])})
    model(batch, draw()).value.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert step_cost(model, batch).training > 2 * step_cost(model, batch).forward
    with torch.autocast("cpu", torch.bfloat16):
        assert model(batch, draw()).value.dtype == torch.float32


def test_augmentation_follows_the_draw_alone() -> None:
    model = objective(corpus([[1.0, 0.0], [0.0, 1.0]]), augment=True)
    batch = Batch(torch.randn(2, 1, 36, 36), {"targets": torch.tensor([[1.0, NAN], [0.0, 1.0]])})
    one, again, other = (model.augmented(batch, Draw(torch.Generator().manual_seed(s))) for s in (3, 3, 4))
    assert one.images.shape == (2, 1, 24, 24)
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    assert one.more is batch.more


def test_wrong_options_are_one_line() -> None:
    for wrong in ({"ratio": 0.5}, {"pooling": "max"}, {"pos_weight": "maybe"}, {"variant": "paper"}):
        with pytest.raises(UserError):
            OPTIONS.read(wrong)


# Training


def test_it_learns_which_images_are_bright() -> None:
    """30 steps on 64 images; on 200 others it tells bright from dark. A second label is unknown for half of them."""
    rng = np.random.default_rng(0)

    def draw_images(count: int) -> tuple[torch.Tensor, np.ndarray]:
        bright = rng.random(count) < 0.4
        left = rng.random(count) < 0.5
        pixels = rng.normal(0, 1, (count, 1, 24, 24)) + 0.7 * bright[:, None, None, None]
        pixels[left, :, :, :12] += 1.0
        return torch.from_numpy(pixels).float(), np.stack([bright, left], axis=1).astype(np.float32)

    images, targets = draw_images(64)
    others, truth = draw_images(200)
    targets[::2, 1] = NAN
    model = objective(corpus(targets.tolist())).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(30):
        loss = model(Batch(images, {"targets": torch.from_numpy(targets)}), draw()).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        scores = model.eval().logits(others).numpy()
    assert [roc_auc_score(truth[:, k], scores[:, k]) > 0.9 for k in (0, 1)] == [True, True]


def test_a_run_from_images_to_an_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(14):
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(tmp_path / f"{k:02}.png")
        size = (tmp_path / f"{k:02}.png").stat().st_size
        nodule, mass = (NAN, NAN) if k == 3 else (float(k % 2), NAN if k % 3 else float(k % 4 == 0))
        rows.append((f"i{k:02}", f"p{k:02}", "", "PA", "train", f"{k:02}.png", size, nodule, mass))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes", "Nodule", "Mass"]
    toy = Manifest("toy", tmp_path, pd.DataFrame(rows, columns=columns), ("Nodule", "Mass"))
    config = PretrainConfig("supervised", "nano-32", epochs=2, batch_size=4, precision="32", accelerator="cpu")
    path = pretrain(replace(config, options={"pooling": "cls"}), [toy], tmp_path / "run")
    facts = read_metadata(path)["cxrbench"]
    assert '"labels": {"Mass": 2, "Nodule": 6}' in facts
    assert '"toy": 13' in facts  # without the image of no known label
    encoder = load(EncoderRequest("supervised", None, str(path)))
    assert encoder.pooling == "cls"  # as it was trained
    assert load(EncoderRequest("supervised", "mean", str(path))).pooling == "mean"
    assert load(EncoderRequest("supervised", None, str(tmp_path / "run" / "last.ckpt"))).pooling == "cls"


# Files


def test_classifiers_of_others_load_without_their_head(tmp_path: Path) -> None:
    backbone, images = ViT(replace(ARCH, channels=3)).eval(), torch.randn(2, 3, 24, 24)
    head = {"head.weight": torch.zeros(5, 64), "head.bias": torch.zeros(5)}
    torch.save({"model": backbone.state_dict() | head}, tmp_path / "deit.pth")
    encoder = load(EncoderRequest("supervised", None, str(tmp_path / "deit.pth")))
    torch.testing.assert_close(encoder(images).pooled, backbone(images)[0][:, 0])
    assert encoder.preprocess.mean == (0.485, 0.456, 0.406)
    facts = encoder_facts("mae", asdict(ARCH), encoder.preprocess, EncoderCard("mae"))
    write_encoder(tmp_path / "mae.safetensors", ViT(ARCH).state_dict(), facts, half=False)
    with pytest.raises(UserError, match="was trained by mae: name it mae@"):
        load(EncoderRequest("supervised", None, str(tmp_path / "mae.safetensors")))
    with pytest.raises(UserError, match="cxrbench pretrain supervised"):
        load(EncoderRequest("supervised", None, None))
