"""S-PCL ``official`` gives what the code that it descends from gives for the same weights, images and permutations.

Numbers: AnonymGiant/OCL at 9445a98981da01369c0a73c3c8de3c33e027b4e5, models_mae.py, ``MiCLAutoencoderViT`` (40 px,
patches of 4, 96 wide, 3 blocks, 3 heads, eps 1e-6, mask_ratio 0.9), run with torch 2.14 and timm 1.0 in float32. The
paper's own code is not public; eq. 2 (``ntxent``) is compared with its closed form in tests/encoders/test_spcl.py.
"""

import pytest
import torch

from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.method import Batch
from cxrbench.encoders.spcl import OPTIONS, SPCL, partition
from support.golden import FormulaDraw, agree, digest, fill, formula, gradient_norm, inputs

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=96, depth=3, heads=3, patch=4, size=40, channels=3)
OCL = {
    "loss": 1.19195843,
    "visible": 8.0,  # int(100 * (1 - 0.9)) is 9
    "gradient": 10.1707521,
    "cls": (28.2823044, -20.4408672, 2.17819166),
    "patches": (3.39497383, -0.573987149, 0.00906618498),
}


def test_official_is_ocl() -> None:
    method = SPCL(ARCH, OPTIONS.read({"variant": "official", "augment": "false"}))
    fill(method)
    images = inputs("images", 4, 3, 40, 40)
    loss = method(Batch(images), FormulaDraw()).value
    loss.backward()
    tokens = method.backbone.embed(images)
    views = partition(formula("draw 0", 4, 100), method.visible)
    seen = [method.backbone.encode(take(tokens, view))[:, 0] for view in views]
    agree(
        {
            "loss": loss.item(),
            "visible": float(method.visible),
            "gradient": gradient_norm(method),
            "cls": digest(torch.stack(seen)),
            "patches": digest(method.backbone.patch_embed.proj.weight.grad),  # type: ignore[arg-type]
        },
        OCL,
    )
