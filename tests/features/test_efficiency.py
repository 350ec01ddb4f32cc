import pytest
import timm
import torch
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.encoders.families.timm import TimmEncoder
from cxrbench.features.efficiency import measure

PREPROCESS = Preprocess(size=32)


def vit_macs(width: int, depth: int, tokens: int, patches: int, patch: int) -> int:
    """Multiply-adds of a ViT: patch embedding; per block qkv, output and MLP 12 N D², attention 2 N² D."""
    embedding = patches * width * 3 * patch**2
    return embedding + depth * (12 * tokens * width**2 + 2 * tokens**2 * width)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_vit_equals_the_closed_form(precision: str) -> None:
    backbone = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=32, patch_size=8, depth=4
    )
    encoder = TimmEncoder(backbone, PREPROCESS, EncoderCard("vit")).eval()
    measured = measure(encoder, PREPROCESS, precision=precision)
    assert measured.gflops_per_image * 1e9 == pytest.approx(2 * vit_macs(192, 4, 17, 16, 8), rel=1e-9)
    assert measured.parameters == sum(p.numel() for p in backbone.parameters())
    assert measured.width == 192


def test_the_papers_figure_of_a_vit_b() -> None:
    """ViT-B/16 at 224 px has 17.6 "GFLOPs" in DeiT's table: multiply-adds."""
    assert vit_macs(768, 12, 197, 196, 16) / 1e9 == pytest.approx(17.56, abs=0.05)


class Convolution(nn.Module):
    preprocess = PREPROCESS

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.text_tower = nn.Linear(100, 100)

    def forward(self, images: Tensor) -> Features:
        return Features(self.convolution(images).mean((2, 3)))


def test_convolution_and_no_text_tower() -> None:
    measured = measure(Convolution(), PREPROCESS)
    assert measured.gflops_per_image * 1e9 == 2 * 16 * 16 * 8 * 3 * 9
    assert measured.parameters == 8 * 3 * 9 + 8
    assert torch.is_grad_enabled()
