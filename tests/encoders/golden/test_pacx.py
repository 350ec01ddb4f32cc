"""PaCX-MAE ``official`` gives what its authors' code gives for the same weights, images and teachers' embeddings.

Numbers: Lyce24/PACX-MAE at 92ddf9d90ad99f00200383d3e3334b4775806b9e: Modules/pacx_lit.py (``CrossModalCXRDistillation``
in evaluation mode, so that no dropout is drawn, with Stage2_PACX.py's weights of the losses, around Models/models.py's
``MAECXREncoder`` of 40 px, patches of 4, 96 wide, 3 blocks, 3 heads; embeddings of 40 and 24 numbers, 32 shared), the
classes of Models/labs_dae.py, and ``Net1D`` of Data/ecg_features_extraction.ipynb. torch 2.14, timm 1.0, peft 0.21,
float32.
"""

import pytest
import torch

from cxrbench.encoder import EncoderCard
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.ecg.net1d import Net1D, Net1DConfig
from cxrbench.encoders.labs.autoencoder import LabsDAE, corrupted, reconstruction_loss
from cxrbench.encoders.pacx.objective import PaCX
from cxrbench.encoders.pacx.options import OPTIONS
from cxrbench.encoders.pretraining.method import Batch
from support.golden import FormulaDraw, agree, digest, fill, formula, gradient_norm, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=96, depth=3, heads=3, patch=4, size=40, channels=3)
IMAGES, ECG, LABS = 6, 40, 24
STAGE2 = {
    "loss": 2.39984322,
    "contrastive": 2.93421555,
    "regression": 0.932735562,
    "logit_scale": 14.2857141,
    "gradient": 21.9686707,
    "cls": (24.4443371, -23.9824013, 0.880324721),
    "trained": 44193.0,
    "lora": (0.48435643, 0.0978607174, 0.0034460295),
}
AUTOENCODER = {
    "loss": 0.0864467099,
    "gradient": 0.211357309,
    "code": (25.3539464, 29.2057017, 0.861768842),
    "guess": (6.18928028, -0.197639171, 0.390690893),
}
NET1D = {"features": (8.44110848, -9.89394455, -0.0665127784)}


@pytest.fixture
def method() -> PaCX:
    options = OPTIONS.read({"variant": "official", "augment": "false", "projection": "32"})
    base = TrainedBackbone(ViT(ARCH).state_dict(), ARCH, None, EncoderCard("formula"))
    pacx = PaCX(base, options, gray_preprocess(ARCH), {"ecg": ECG, "labs": LABS})
    fill(pacx)
    return pacx.eval()


def test_official_stage_2_is_the_authors_code(method: PaCX) -> None:
    images, everyone = inputs("images", IMAGES, 3, 40, 40), torch.ones(IMAGES)
    teachers = {"ecg": inputs("ecg", IMAGES, ECG), "labs": inputs("labs", IMAGES, LABS)}
    loss = method(Batch(images, teachers | {"has_ecg": everyone, "has_labs": everyone}), FormulaDraw())
    loss.value.backward()
    adapted = dict(method.named_parameters())["backbone.base_model.model.blocks.1.mlp.fc1.lora_B.default.weight"]
    assert adapted.grad is not None
    seen = {
        "loss": loss.value.item(),
        "gradient": gradient_norm(method),
        "cls": digest(method.backbone(images)[0][:, 0]),
        "trained": float(sum(p.numel() for p in method.parameters() if p.requires_grad)),
        "lora": digest(adapted.grad),
    }
    agree(seen | {name: loss.logged[name].item() for name in ("contrastive", "regression", "logit_scale")}, STAGE2)


def test_the_merged_encoder_gives_the_features_of_the_adapted_one(method: PaCX) -> None:
    tokens, _ = method.kept()(inputs("images", IMAGES, 3, 40, 40))
    agree({"cls": digest(tokens[:, 0])}, {"cls": STAGE2["cls"]})


def test_the_labs_autoencoder_is_the_authors_code() -> None:
    model = LabsDAE(20)
    fill(model)
    percentiles, made = formula("percentiles", 7, 20), (formula("made", 7, 20) < 0.7).float()
    shown = corrupted(percentiles, made, formula("hidden", 7, 20))
    loss = reconstruction_loss(model(*shown), percentiles * made, made)
    loss.backward()
    agree(
        {
            "loss": loss.item(),
            "gradient": gradient_norm(model),
            "code": digest(model.embed(percentiles, made)),  # of imputed values where none was made, as in stage 2
            "guess": digest(model(percentiles * made, made)),
        },
        AUTOENCODER,
    )


def test_net1d_is_the_authors_code() -> None:
    """A short last window and new channels at each stage, where zeros are padded."""
    net = Net1D(Net1DConfig(filters=(16, 32, 48), blocks=(2, 1, 2), base=16, kernel=6, group=8)).eval()
    fill(net)
    agree({"features": digest(net(inputs("recordings", 3, 12, 203)))}, NET1D)
