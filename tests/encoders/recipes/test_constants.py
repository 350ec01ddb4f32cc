"""Numbers that no option sets: what a dry run prints of them is what the networks have that the code builds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from cxrbench.encoder import NOTHING, EncoderCard
from cxrbench.encoders import mae, spcl, supervised
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig
from cxrbench.encoders.ecg.net1d import Net1D
from cxrbench.encoders.ecg.teacher import SMALL
from cxrbench.encoders.fane.attention import SoftmaxPool, SparseAttentionPool
from cxrbench.encoders.fane.image import build_image_tower, parse_image_arch
from cxrbench.encoders.fane.text import TextTower, projection
from cxrbench.encoders.labs.autoencoder import LabsDAE
from cxrbench.encoders.mvmae.losses import beta_at
from cxrbench.encoders.mvmae.objective import MVMAE
from cxrbench.encoders.mvmae.options import V2TOptions
from cxrbench.encoders.pacx.objective import PaCX
from cxrbench.encoders.pacx.options import PaCXOptions
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.encoders.pretraining.method import Draw, Method
from cxrbench.encoders.radjepa import objective as radjepa
from cxrbench.encoders.text.tokens import Vocabulary
from cxrbench.plugins.entry_points import METHODS, load_plugin

pytestmark = pytest.mark.usefixtures("one_thread")
WIDE = "192x4p16s64"


def method(name: str) -> Method:
    return load_plugin(METHODS, name, "method")


def told(name: str, arch: str = WIDE, variant: str = "fixed", **options: Any) -> dict[str, Any]:
    """The values of the constants that are read."""
    blueprint = method(name).configure(arch, {"variant": variant, **options})
    constants = method(name).constants(blueprint.backbone, blueprint.options)
    return {one: constant.value for one, constant in constants.items() if constant.read}


def deviation(of: Tensor, wanted: float) -> None:
    assert float(of.detach().std()) == pytest.approx(wanted, rel=0.15)


def is_told_of_vit(network: nn.Module, values: Mapping[str, Any]) -> None:
    blocks: list[Any] = [part for part in network.modules() if isinstance(part, Block)]
    assert blocks
    for block in blocks:
        assert block.mlp.fc1.out_features == values["mlp_ratio"] * block.mlp.fc1.in_features
        drops = {part.p for part in block.modules() if isinstance(part, nn.Dropout)}
        assert drops == {values["drop_rates"]}
        assert isinstance(block.drop_path1, nn.Identity)
        if "block_norm_eps" in values:
            assert block.norm1.eps == block.norm2.eps == values["block_norm_eps"]  # type: ignore[union-attr]


def test_of_spcl_and_its_backbone() -> None:
    torch.manual_seed(0)
    objective = spcl.SPCL(ViTConfig(192, 4, 3, size=64, channels=1), spcl.SPCLOptions())
    values = told("spcl")
    is_told_of_vit(objective, values)
    assert objective.backbone.cls_token is not None
    deviation(objective.backbone.cls_token, values["token_std"])
    qkv = objective.backbone.blocks[0].attn.qkv.weight  # type: ignore[union-attr]
    assert values["matrix_start"] == "Xavier-uniform"
    assert float(qkv.detach().abs().max()) == pytest.approx((6 / sum(qkv.shape)) ** 0.5, rel=1e-3)  # type: ignore[operator,arg-type]
    # Its second frequency at width 192: base^(-1/48), at x = 1 of the first row.
    assert float(objective.backbone.pos_embed[0, 2, 1]) == pytest.approx(np.sin(values["position_base"] ** (-1 / 48)))


def test_of_mae_and_its_decoder() -> None:
    values = told("mae", norm_pix=True)
    objective = mae.MAE(ViTConfig(192, 4, 3, size=64, channels=1), mae.MAEOptions())
    is_told_of_vit(objective, values)
    decoder = objective.decoder
    shape = (decoder.embed.out_features, len(decoder.blocks), decoder.blocks[0].attn.num_heads)  # type: ignore[union-attr]
    assert shape == (values["decoder_width"], values["decoder_depth"], values["decoder_heads"])
    flat = mae.normalise_patches(torch.tensor([[0.0, 1e-3]]))
    assert float(flat[0, 1]) == pytest.approx(5e-4 / (5e-7 + values["pixel_eps"]) ** 0.5, rel=1e-4)
    published = told("mae", arch="base", variant="official")
    assert [published[f"decoder_{part}"] for part in ("width", "depth", "heads")] == [512, 8, 16]  # He et al., 2022


@pytest.mark.parametrize(
    ("name", "module", "flips"), [("spcl", spcl, 0.5), ("mae", mae, 0.5), ("supervised", supervised, 0.5),
                                  ("radjepa", radjepa, 0.0)]
)  # fmt: skip
def test_of_crops(name: str, module: Any, flips: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boxes that are cut of 2,000 images lie within what is told, and reach its ends."""
    values, boxes = told(name, augment=True), []

    def recorded(
        images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor, flip: Tensor, **_: Any
    ) -> Tensor:
        inside = (width < 1) & (height < 1)  # not shortened to the image's side
        boxes.append(((width * height)[inside], (width / height)[inside], flip))
        return images

    monkeypatch.setattr("cxrbench.encoders.pretraining.augment.crop_resize", recorded)
    cut = module.random_resized_crop if name == "radjepa" else module.random_resized_crop_and_flip
    cut(torch.zeros(2000, 1, 1, 1), Draw(torch.Generator().manual_seed(0)), module.CROP_AREA)
    area, aspect, flip = boxes[0]
    low, high = values["crop_area"]
    assert low - 1e-6 <= float(area.min()) < low + 0.01
    assert high - 0.05 < float(area.max()) <= high + 1e-6
    assert float(aspect.min()) == pytest.approx(values["crop_ratio"][0], abs=0.01)
    assert float(aspect.max()) == pytest.approx(values["crop_ratio"][1], abs=0.01)
    assert values.get("flip_chance", 0.0) == flips == pytest.approx(float(flip.float().mean()), abs=0.04)
    assert set(told(name)) & {"crop_area", "crop_ratio", "flip_chance"} == set()


def test_of_mvmae_v2t() -> None:
    torch.manual_seed(0)
    values, options = told("mvmae-v2t", flip=True), V2TOptions()
    objective = MVMAE(
        method("mvmae-v2t").configure(WIDE, {}).backbone, options, Vocabulary(size=50, start=1, end=2, padding=0)
    )
    is_told_of_vit(objective, values)
    assert objective.text is not None
    layer: Any = objective.text.layers[0]
    assert layer.self_attn.num_heads == values["text_heads"]
    assert layer.linear1.out_features == values["text_mlp_ratio"] * layer.linear1.in_features
    assert (layer.dropout.p, layer.norm1.eps) == (values["text_dropout"], values["text_norm_eps"])
    assert objective.text.norm.eps == values["text_norm_eps"]
    deviation(objective.text.words.weight, values["word_std"])
    deviation(objective.decoder.pos_embed, values["token_std"])
    heads: Any = objective.decoder.blocks[0].attn  # type: ignore[union-attr]
    assert (objective.decoder.pos_embed.shape[2], heads.num_heads) == (values["decoder_width"], values["decoder_heads"])


def test_of_the_annealing_of_mvmae() -> None:
    """By the slope of β at its middle, where a stretched sigmoid is steepest, and where it leaves 0."""
    values = told("mvmae")
    w, m, k = (values[f"beta_{part}"] for part in ("warmup", "middle", "steepness"))
    assert (w, m, k) == (50 / 500, (50 + 500) / 2 / 500, 0.02 * 500)  # the code's epochs
    assert beta_at(w, 1.0) == 0 < beta_at(w + 1e-3, 1.0)
    assert beta_at(m, 1.0) == pytest.approx(0.5)
    span = 1 - 2 / (1 + np.exp(k * (1 - m)))
    assert (beta_at(m + 1e-4, 1.0) - beta_at(m - 1e-4, 1.0)) / 2e-4 == pytest.approx(k / 4 / span, rel=1e-4)


def test_of_radjepa() -> None:
    torch.manual_seed(0)
    config = method("radjepa").configure("192x4p14s112", {"variant": "official"}).backbone
    values = told("radjepa", "192x4p14s112", "official", variance=0.1)
    objective = radjepa.RadJEPA(config, radjepa.OPTIONS.read({"variant": "official"}))
    is_told_of_vit(objective, values)
    blocks = objective.blocks
    shapes = ("block_targets", "target_scale", "target_aspect", "context_scale", "min_keep")
    assert [values[one] for one in shapes] == [
        blocks.targets, blocks.target_scale, blocks.target_aspect, blocks.context_scale, blocks.kept,
    ]  # fmt: skip
    assert values["predictor_width"] == objective.predictor.embed.out_features
    assert values["predictor_heads"] == objective.predictor.blocks[0].attn.num_heads  # type: ignore[union-attr]
    deviation(objective.backbone.blocks[0].mlp.fc1.weight, values["start_std"])  # type: ignore[union-attr,arg-type]
    deviation(objective.predictor.mask_token, values["token_std"])
    # Beyond β, smooth-L1 is the error less β / 2.
    error = radjepa.latent_loss(torch.tensor([5.0]), torch.tensor([0.0]), "smooth_l1")
    assert float(error) == 5.0 - values["smooth_beta"] / 2
    # A token of variance eps is divided by sqrt(2 eps).
    small = torch.tensor([[[-1.0, 1.0]]]) * values["target_eps"] ** 0.5
    assert float(objective.wanted(small, torch.tensor([[[0]]]))[0, 0, 1]) == pytest.approx(0.5**0.5, rel=1e-4)
    hinge, _ = radjepa.variance_covariance(torch.zeros(3, 2))
    assert float(hinge) == pytest.approx(values["variance_target"] - values["variance_eps"] ** 0.5)


def test_a_depth_of_0_is_told_as_the_one_that_is_meant() -> None:
    objective = radjepa.RadJEPA(
        method("radjepa").configure("192x4p14s112", {}).backbone, radjepa.OPTIONS.read({"variant": "fixed"})
    )

    def line(**options: Any) -> tuple[str, str]:
        lines, _ = recipe_lines(PretrainConfig("radjepa", arch="192x4p14s112", options=options))
        return next((one.value, one.source) for one in lines if one.name == "predictor_depth")

    assert line()[0] == f"{len(objective.predictor.blocks)}, half the encoder's (0)" == "2, half the encoder's (0)"
    assert line(predictor_depth=3) == ("3", "given; the recipe has 2, half the encoder's (0)")


def test_of_fane() -> None:
    torch.manual_seed(0)
    values = told("fane", "resnet18", "official", sentence_pool="attention")
    tower: Any = build_image_tower(parse_image_arch("resnet18", 3))
    norms = [part for part in tower.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(values["batch_norm_eps"], values["batch_norm_momentum"])}
    assert tower.enlarged == values["enlarged"]
    assert SoftmaxPool(128).key.out_features == 128 / values["pool_narrowed"]
    assert SparseAttentionPool(16).norm.eps == values["mask_norm_eps"]
    assert values["projection_std"] == "width^-0.5"
    deviation(projection(1024, 64).weight, 1024**-0.5)
    tower = TextTower(256, 64, "mean")
    deviation(tower.projection.weight, 256**-0.5)
    assert "mlp_ratio" not in values
    vit = told("fane", WIDE)
    is_told_of_vit(build_image_tower(parse_image_arch(WIDE, 1)), vit)
    assert [vit[f"tau{number}"] for number in (1, 2, 3)] == [0.1, 0.07, 0.07]  # FaNe §4.1
    assert {"tau2", "tau3"} & set(told("fane", WIDE, tc=0, hn=0)) == set()


def test_of_pacx_and_its_teachers() -> None:
    torch.manual_seed(0)
    config, options = ViTConfig(192, 4, 3, size=64, channels=1), PaCXOptions()
    card = EncoderCard("none", "Apache-2.0", NOTHING)
    base = TrainedBackbone(dict(ViT(config).state_dict()), config, gray_preprocess(config), card)
    objective = PaCX(base, options, gray_preprocess(config), {"ecg": 16, "labs": 8})
    values = told("pacx", "192x4p16s64")
    adapted = {
        name.split(".lora_A")[0].rpartition(".")[2] for name, _ in objective.named_parameters() if "lora_A" in name
    }
    assert adapted == set(values["lora_layers"])
    _, linear, norm = objective.project["image"]  # type: ignore[misc]
    deviation(linear.weight, values["head_std"])
    assert norm.eps == values["head_norm_eps"]
    dae = LabsDAE(5)
    assert (dae.encoder[0].out_features, dae.encoder[3].out_features) == (values["labs_inside"], values["labs_width"])
    net = Net1D(SMALL)
    assert net.first_conv.conv.kernel_size == (values["ecg_kernel"],)
    assert net.width == values["ecg_filters"][-1]
    stated = (50, 256, 3e-4, 0.01, 200)  # PaCX-MAE A.1.1
    assert tuple(values[f"labs_{one}"] for one in ("epochs", "batch", "lr", "weight_decay", "warmup_steps")) == stated
    assert not {one for one in told("pacx", modalities="ecg") if one.startswith("labs_")}
    assert not {one for one in told("pacx", variant="paper") if one.endswith("_chance")}


def test_of_the_supervised_head() -> None:
    torch.manual_seed(0)

    class Corpus:
        labels = tuple("abcdefgh")

    config = ViTConfig(192, 4, 3, size=64, channels=1)
    objective = supervised.Supervised(config, supervised.SupervisedOptions(), Corpus())  # type: ignore[arg-type]
    deviation(objective.head.weight, told("supervised")["head_std"])
