"""Grad-CAM and occlusion of a label against captum's."""

import pytest
import torch
from captum.attr import LayerGradCam, Occlusion
from torch import Tensor, nn

from cxrbench.encoder import Features
from cxrbench.encoders.backbones.encoder import untrained_vit
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.looking.evidence import WINDOWS, grad_cam, occlusion

SIDE = 32


class SmallCNN(nn.Module):
    """Four stages, the mean of the last one behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.GELU())
            for a, b, stride in ((1, 4, 1), (4, 8, 2), (8, 8, 2), (8, 6, 2))
        )

    def forward(self, images: Tensor) -> Features:
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return Features(torch.tanh(images).mean((2, 3)), tuple(maps))


class Logit(nn.Module):
    """What captum asks: an image's logit."""

    def __init__(self, encoder: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self.encoder, self.weights = encoder, weights

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).pooled.double() @ self.weights


@pytest.fixture
def case() -> tuple[SmallCNN, Tensor, Tensor]:
    encoder = SmallCNN().eval().requires_grad_(False)
    return encoder, torch.randn(1, SIDE, SIDE), torch.randn(6, dtype=torch.float64)


def test_grad_cam_is_captums(case: tuple[SmallCNN, Tensor, Tensor]) -> None:
    encoder, image, weights = case
    both = []
    for toward in (weights, -weights):
        encoder.requires_grad_(False)
        found = grad_cam(encoder, image, toward)
        assert found is not None
        both.append(found)
        encoder.requires_grad_(True)
        captums = LayerGradCam(Logit(encoder, toward), encoder.stages[-1])
        expected = captums.attribute(image[None], relu_attributions=True)
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(found, expected[0, 0].detach().double(), rtol=1e-5, atol=1e-9)
    assert ((both[0] > 0) ^ (both[1] > 0)).all()  # what does not speak for a label speaks against it


def test_occlusion_is_captums(case: tuple[SmallCNN, Tensor, Tensor]) -> None:
    encoder, image, weights = case
    step = SIDE // (2 * WINDOWS)
    expected = Occlusion(Logit(encoder, weights)).attribute(
        image[None], sliding_window_shapes=(1, 2 * step, 2 * step), strides=(1, step, step),
        baselines=float(image.mean()),
    )  # fmt: skip
    found = occlusion(encoder, image, weights)
    torch.testing.assert_close(found, expected[0, 0, ::step, ::step].double(), rtol=1e-4, atol=1e-7)
    assert (found < 0).any()  # what speaks against the label has a sign


def test_without_a_gradient_there_is_no_grad_cam(case: tuple[SmallCNN, Tensor, Tensor]) -> None:
    _, image, weights = case

    class Frozen(SmallCNN):
        @torch.no_grad()
        def forward(self, images: Tensor) -> Features:
            return super().forward(images)

    class NoMaps(SmallCNN):
        def forward(self, images: Tensor) -> Features:
            return Features(super().forward(images).pooled)

    for other in (Frozen(), NoMaps()):
        assert grad_cam(other.eval(), image, weights) is None
    vit = untrained_vit(ViTConfig(64, 4, 1, 8, SIDE, 1), 0, "cls").eval()
    patches = torch.randn(64, dtype=torch.float64)
    assert grad_cam(vit, image, patches) is None  # its maps lie beside the way to its embedding


def test_occlusion_finds_what_alone_is_read() -> None:
    class Corner(nn.Module):
        def forward(self, images: Tensor) -> Features:
            return Features(images[:, :, :4, 28:].mean((2, 3)))

    image = torch.zeros(1, SIDE, SIDE)
    image[:, :4, 28:] = 1
    found = occlusion(Corner(), image, torch.tensor([2.0], dtype=torch.float64))
    rest = 1 - float(image.mean())
    torch.testing.assert_close(found[0, -1], torch.tensor(2 * rest, dtype=torch.float64))
    assert (found[3:] == 0).all()
    assert (found[:, :12] == 0).all()
