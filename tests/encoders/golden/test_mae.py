"""MAE ``official`` gives what the codes of MAE and of PaCX-MAE's stage 1 give for the same weights and images.

Numbers: facebookresearch/mae at efb2a8062c206524e35e47d04501ed4f544c0ae8, models_mae.py, ``MaskedAutoencoderViT`` (40
px, patches of 4, 96 wide, 3 blocks, 3 heads; decoder 64 wide, 2 blocks, 2 heads; eps 1e-6, mask_ratio 0.75), with
timm's ``Block`` taking and ignoring ``qk_scale``. Lyce24/PACX-MAE at 92ddf9d90ad99f00200383d3e3334b4775806b9e,
Modules/mae_lit.py, ``MAELightningModule.training_step`` around its Models/mae.py of that shape, gave the same loss,
gradient, pixels and CLS tokens to nine digits. torch 2.14, timm 1.0, float32.
"""

import pytest

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.mae import MAE, OPTIONS
from cxrbench.encoders.pretraining.method import Batch
from support.golden import FormulaDraw, agree, digest, fill, gradient_norm, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=96, depth=3, heads=3, patch=4, size=40, channels=3)
PUBLIC = {
    "false": {"loss": 1.79924965, "gradient": 3.52955494},
    "true": {"loss": 1.77905679, "gradient": 3.54052721},
}
SHARED = {
    "hidden": 225.0,  # of 3 x 100 patches
    "predicted": (109.099329, -128.407369, -0.516608715),
    "features": (175.994301, -80.8470581, 1.57185555),
    "cls": (17.344194, 4.94478193, 1.57185555),
}


@pytest.mark.parametrize("norm_pix", ["false", "true"])
def test_official_is_mae_as_pacx_runs_it(norm_pix: str) -> None:
    method = MAE(ARCH, OPTIONS.read({"variant": "official", "augment": "false", "norm_pix": norm_pix}))
    fill(method)
    images = inputs("images", 3, 3, 40, 40)
    loss = method(Batch(images), FormulaDraw()).value
    loss.backward()
    masking, predicted = method.reconstruct(images, FormulaDraw())
    tokens, _ = method.backbone(images)
    agree(
        {
            "loss": loss.item(),
            "gradient": gradient_norm(method),
            "hidden": float(masking.hidden.sum()),
            "predicted": digest(predicted),
            "features": digest(tokens),
            "cls": digest(tokens[:, 0]),
        },
        PUBLIC[norm_pix] | SHARED,
    )
