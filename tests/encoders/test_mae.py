"""MAE against transformers' and timm's implementations, and against the invariants of its specification."""

import copy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.backbones.decoder import DecoderConfig, decoder_of
from cxrbench.encoders.backbones.masking import patchify, unpatchify
from cxrbench.encoders.backbones.vit import ARCHITECTURES, ViT, ViTConfig, infer_config
from cxrbench.encoders.mae import MAE, METHOD, OPTIONS, configure, load
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.errors import UserError

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = ViTConfig(width=64, depth=4, heads=1, patch=4, size=24, channels=1)  # 36 patches


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def objective(arch: ViTConfig = ARCH, **options: object) -> MAE:
    torch.manual_seed(0)
    return MAE(arch, OPTIONS.read(options)).eval()


def random_images(count: int = 4, channels: int = 1) -> Tensor:
    return torch.randn(count, channels, 24, 24, generator=torch.Generator().manual_seed(7))


# The whole of it, against an implementation that we did not write


def copy_block(ours: nn.Module, theirs: nn.Module) -> None:
    """Weights of a timm block into transformers' layer: queries, keys and values are apart there."""
    block: Any = ours
    linears = [part for part in theirs.modules() if isinstance(part, nn.Linear)]
    norms = [part for part in theirs.modules() if isinstance(part, nn.LayerNorm)]
    weights = [*block.attn.qkv.weight.chunk(3), block.attn.proj.weight, block.mlp.fc1.weight, block.mlp.fc2.weight]
    biases = [*block.attn.qkv.bias.chunk(3), block.attn.proj.bias, block.mlp.fc1.bias, block.mlp.fc2.bias]
    for linear, weight, bias in zip(linears, weights, biases, strict=True):
        linear.load_state_dict({"weight": weight, "bias": bias})
    for norm, source in zip(norms, (block.norm1, block.norm2), strict=True):
        norm.load_state_dict(source.state_dict())


def transformers_mae(ours: MAE, ratio: float, norm_pix: bool) -> Any:
    """transformers' ViTMAEForPreTraining with the weights and positions of ``ours``."""
    config, decoder = ours.backbone.config, ours.decoder.config
    theirs: Any = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            image_size=config.size,
            patch_size=config.patch,
            num_channels=config.channels,
            decoder_hidden_size=decoder.width,
            decoder_num_hidden_layers=decoder.depth,
            decoder_num_attention_heads=decoder.heads,
            decoder_intermediate_size=4 * decoder.width,
            layer_norm_eps=1e-6,
            hidden_act="gelu",
            mask_ratio=ratio,
            norm_pix_loss=norm_pix,
        )
    ).eval()
    lists = [m for m in theirs.modules() if isinstance(m, nn.ModuleList)]
    blocks = [*ours.backbone.blocks, *ours.decoder.blocks]
    for block, layer in zip(blocks, [layer for each in lists for layer in each], strict=True):
        copy_block(block, layer)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (theirs.vit.embeddings.patch_embeddings.projection, ours.backbone.patch_embed.proj),
        (theirs.vit.layernorm, ours.backbone.norm),
        (theirs.decoder.decoder_embed, ours.decoder.embed),
        (theirs.decoder.decoder_norm, ours.decoder.norm),
        (theirs.decoder.decoder_pred, ours.decoder.predict),
    ]
    for to, of in pairs:
        to.load_state_dict(of.state_dict())
    with torch.no_grad():
        theirs.vit.embeddings.cls_token.copy_(ours.backbone.cls_token)
        # Version 5.24 leaves its own positions at zero, unless they are loaded; ours are held to timm's elsewhere.
        theirs.vit.embeddings.position_embeddings.copy_(ours.backbone.pos_embed)
        theirs.decoder.decoder_pos_embed.copy_(ours.decoder.pos_embed)
        theirs.decoder.mask_token.copy_(ours.decoder.mask_token)
    return theirs


@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_transformers_with_the_same_weights_and_masks(norm_pix: bool, channels: int) -> None:
    ours = objective(replace(ARCH, channels=channels), ratio=0.75, norm_pix=norm_pix)
    for parameter in ours.parameters():  # biases and norms, too, shall matter
        nn.init.normal_(parameter, std=0.1)
    theirs, images = transformers_mae(ours, 0.75, norm_pix), random_images(3, channels)
    expected = theirs(images, noise=draw().rand(3, 36))
    masking, predicted = ours.reconstruct(images, draw())
    torch.testing.assert_close(masking.hidden.float(), expected.mask)
    torch.testing.assert_close(masking.restore, expected.ids_restore)
    torch.testing.assert_close(predicted, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours(Batch(images), draw()).value, expected.loss, atol=1e-5, rtol=1e-5)


def test_decoder_is_the_published_one_for_base_and_smaller_for_less() -> None:
    assert decoder_of(ARCHITECTURES["base"]) == decoder_of(ARCHITECTURES["large"]) == DecoderConfig(512, 8, 16)
    assert decoder_of(ARCHITECTURES["small"]) == DecoderConfig(256, 8, 8)
    assert decoder_of(ARCHITECTURES["nano"]) == DecoderConfig(128, 2, 4)
    assert decoder_of(ViTConfig(64, 4, 1)) == DecoderConfig(32, 2, 1)


def test_decoder_positions_are_timms() -> None:
    sin_y, sin_x, cos_y, cos_x = build_sincos2d_pos_embed([6, 6], dim=32).chunk(4, dim=1)
    positions = objective().decoder.pos_embed[0]
    torch.testing.assert_close(positions[1:], torch.cat([sin_x, cos_x, sin_y, cos_y], dim=1), atol=1e-5, rtol=0)
    assert not positions[0].any()


# Invariants


def test_loss_does_not_see_visible_patches_of_the_target_and_the_backbone_no_hidden_ones() -> None:
    model, images = objective(), random_images()
    masking, predicted = model.reconstruct(images, draw())
    patches = patchify(images, 4)
    shown = patches + 5 * masking.hidden[:, :, None]  # other pixels where nothing is seen
    _, again = model.reconstruct(unpatchify(shown, 4), draw())
    torch.testing.assert_close(again, predicted, atol=1e-5, rtol=0)
    expected = ((predicted - patches)[masking.hidden] ** 2).mean()
    torch.testing.assert_close(model(Batch(images), draw()).value, expected)


@pytest.mark.parametrize(("ratio", "visible"), [(0.9, 3), (0.75, 9), (0.5, 18)])
def test_only_visible_patches_are_encoded(ratio: float, visible: int) -> None:
    model, shapes = objective(ratio=ratio), []
    model.backbone.blocks[0].register_forward_pre_hook(lambda module, given: shapes.append(tuple(given[0].shape)))
    model.decoder.blocks[0].register_forward_pre_hook(lambda module, given: shapes.append(tuple(given[0].shape)))
    masking, predicted = model.reconstruct(random_images(), draw())
    assert shapes == [(4, 1 + visible, 64), (4, 37, 32)]
    assert (masking.hidden.sum(dim=1) == 36 - visible).all()
    assert predicted.shape == (4, 36, 16)


def test_a_decoder_that_is_wrong_by_e_everywhere_costs_e_squared() -> None:
    """An image of one gray value g, and a decoder that says 0 whatever it sees: the loss is g², the sum 16 g²."""
    for error, factor in (("mean", 1), ("sum", 16)):
        model = objective(variant="paper" if error == "sum" else "fixed")
        assert model.options.error == error
        nn.init.zeros_(model.decoder.predict.weight)
        nn.init.zeros_(model.decoder.predict.bias)
        loss = model(Batch(torch.full((2, 1, 24, 24), -1.5)), draw())
        assert float(loss.value.detach()) == pytest.approx(factor * 2.25, rel=1e-6)
        assert float(loss.logged["pixel_error"]) == pytest.approx(2.25, rel=1e-6)


def test_gradient_reaches_every_weight_and_no_position() -> None:
    model = objective()
    model(Batch(random_images()), draw()).value.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert not {"backbone.pos_embed", "decoder.pos_embed"} & {name for name, _ in model.named_parameters()}


def test_two_processes_see_what_one_sees() -> None:
    """Halves of a batch, each with its share of the draw, average to the loss of the whole batch."""
    model, images = objective(), random_images(6)
    whole = model(Batch(images), draw()).value
    halves = [
        model(Batch(images[3 * k : 3 * k + 3]), Draw(torch.Generator().manual_seed(0), rank=k, world=2)).value
        for k in (0, 1)
    ]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_gradient_checkpointing_bf16_and_copies_change_nothing_that_matters() -> None:
    model, images = objective(), random_images()
    plain = model(Batch(images), draw()).value
    spared = copy.deepcopy(model)
    spared.backbone.gradient_checkpointing = spared.decoder.gradient_checkpointing = True
    again = spared(Batch(images), draw()).value
    again.backward()
    assert torch.equal(again, plain)
    plain.backward()
    for (name, a), b in zip(model.named_parameters(), spared.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(Batch(images), draw()).value
    assert mixed.dtype == torch.float32
    assert float(mixed.detach()) == pytest.approx(float(plain.detach()), rel=0.02)


# Options


def test_variants_switch_what_they_say() -> None:
    fixed, paper, official = (OPTIONS.read({"variant": v}) for v in ("fixed", "paper", "official"))
    assert [o.ratio for o in (fixed, paper, official)] == [0.9, 0.9, 0.75]
    assert [o.error for o in (fixed, paper, official)] == ["mean", "sum", "mean"]
    assert [o.augment for o in (fixed, paper, official)] == [False, False, True]
    assert [o.floor_slack for o in (fixed, paper, official)] == [1e-9, 1e-9, 0.0]
    assert OPTIONS.read({"variant": "official", "ratio": "0.5", "augment": "false"}).ratio == 0.5


def test_wrong_options_are_one_line() -> None:
    for wrong in ({"mask": 1}, {"variant": "other"}, {"ratio": "x"}, {"ratio": 1.0}, {"ratio": 0}, {"norm_pix": "?"}):
        with pytest.raises(UserError):
            OPTIONS.read(wrong)
    with pytest.raises(UserError, match="leaves 0 of 36 patches visible"):
        objective(ratio=0.99)


def test_augmentation_follows_the_draw_alone() -> None:
    model, whole = objective(augment=True), Batch(random_images())
    one, again, other = (model.augmented(whole, draw(seed)).images for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert all((one[k] != other[k]).any() for k in range(len(one)))
    assert objective().augmented(whole, draw()) is whole


@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_picture_shows_original_what_is_seen_and_reconstruction(norm_pix: bool, channels: int) -> None:
    model, images = objective(replace(ARCH, channels=channels), norm_pix=norm_pix), random_images(3, channels)
    picture = model.picture(Batch(images), draw())
    assert picture.shape == (72, 72)
    mean, std = (torch.tensor(v)[:, None, None] for v in (model.preprocess.mean, model.preprocess.std))
    original, seen, painted = picture.reshape(3, 24, 3, 24).transpose(1, 2)  # each [image, 24, 24]
    torch.testing.assert_close(original, (images * std + mean).mean(dim=1))
    masking, predicted = model.reconstruct(images, draw())
    hidden = unpatchify(masking.hidden[:, :, None].expand(-1, -1, 16).float(), 4)[:, 0].bool()
    torch.testing.assert_close(seen, torch.where(hidden, mean.mean(), original))
    assert torch.equal(painted[~hidden], original[~hidden])
    if norm_pix:  # patches as bright and as rough as the image's own, whatever the decoder's scale
        patches = patchify(images, 4)
        predicted = predicted * (patches.var(dim=2, keepdim=True) + 1e-6).sqrt() + patches.mean(dim=2, keepdim=True)
    full = (unpatchify(predicted, 4) * std + mean).mean(dim=1)
    torch.testing.assert_close(painted[hidden], full[hidden])


# Training


def test_it_learns_to_paint_what_is_hidden() -> None:
    """64 images of one gray value each: any visible patch tells the hidden ones. Painting their mean costs 1.09."""
    images = torch.randn(64, 1, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 24, 24)
    model = objective(ratio=0.75).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for step in range(30):
        loss = model(Batch(images), draw(step)).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    of_the_mean_image = float((images - images.mean(dim=0)).square().mean())
    assert losses[0] > of_the_mean_image
    assert losses[-1] < 0.2 * of_the_mean_image


# Files


def timm_vit(channels: int, fine_tuned: bool = False) -> VisionTransformer:
    """timm's ViT as MAE publishes it: without a head, or fine-tuned on the mean with ``fc_norm`` and ``head``."""
    vit = VisionTransformer(
        img_size=32, patch_size=8, in_chans=channels, embed_dim=128, depth=4, num_heads=2,
        num_classes=14 if fine_tuned else 0, global_pool="avg" if fine_tuned else "token", fc_norm=fine_tuned,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]
    ).eval()  # fmt: skip
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.2)
    return vit


DECODER = {
    "mask_token": torch.zeros(1, 1, 32),
    "decoder_embed.weight": torch.zeros(32, 128),
    "decoder_pos_embed": torch.zeros(1, 17, 32),
    "decoder_blocks.0.norm1.weight": torch.zeros(32),
    "decoder_pred.bias": torch.zeros(4),
}
REPORTS = {"bert_encoder.model.embeddings.weight": torch.zeros(9, 4), "bert_mlp.weight": torch.zeros(4, 128)}


def spec(path: Path, variant: str | None = None) -> EncoderRequest:
    return EncoderRequest("mae", variant, str(path))


@pytest.mark.parametrize(("layout", "channels"), [("mae", 3), ("medical-mae", 3), ("mrm", 3), ("pacx", 3), ("mae", 1)])
def test_published_layouts_give_timms_features(tmp_path: Path, layout: str, channels: int) -> None:
    timm, images = timm_vit(channels), torch.randn(2, channels, 32, 32)
    state = dict(timm.state_dict())
    state |= DECODER if layout != "mae" else {}
    state |= REPORTS if layout == "mrm" else {}
    content: dict[str, Any] = {"model": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    if layout == "pacx":
        content = {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    torch.save(content, tmp_path / "published.pth")
    tokens = timm.forward_features(images)
    encoder = load(spec(tmp_path / "published.pth"))
    torch.testing.assert_close(encoder(images).pooled, tokens[:, 0], atol=1e-5, rtol=1e-5)
    mean = load(spec(tmp_path / "published.pth", "mean"))
    torch.testing.assert_close(mean(images).pooled, tokens[:, 1:].mean(1), atol=1e-5, rtol=1e-5)
    assert [m.shape for m in encoder(images).maps] == [(2, 128, 4, 4)] * 4
    if layout == "mrm":  # known by its report decoder
        assert (encoder.preprocess.mean, encoder.preprocess.std) == ((0.4978,), (0.2449,))
        assert (encoder.card.method, encoder.card.licence, encoder.card.pretrained_on) == ("MRM", "MIT", ("mimic",))
        assert not encoder.card.assumed
    else:
        expected = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.5,), (0.25,))
        assert (encoder.preprocess.mean, encoder.preprocess.std) == expected
        assert encoder.card.method == "mae"
        assert "nobody says it: preprocessing (size 32" in encoder.card.assumed[0]
    assert (encoder.preprocess.size, encoder.preprocess.channels) == (32, channels)


def test_files_fine_tuned_on_the_mean_are_read_as_timm_reads_them(tmp_path: Path) -> None:
    timm, images = timm_vit(3, fine_tuned=True), torch.randn(2, 3, 32, 32)
    assert {"fc_norm.weight", "head.weight"} < set(timm.state_dict())
    torch.save({"model": timm.state_dict()}, tmp_path / "tuned.pth")
    expected = timm.forward_head(timm.forward_features(images), pre_logits=True)
    for variant in (None, "mean"):
        encoder = load(spec(tmp_path / "tuned.pth", variant))
        torch.testing.assert_close(encoder(images).pooled, expected, atol=1e-5, rtol=1e-5)
    theirs: Any = timm.forward_intermediates(images, indices=[0, 1, 2, 3], intermediates_only=True)
    for ours, of_timm in zip(encoder(images).maps, theirs, strict=True):
        torch.testing.assert_close(ours, of_timm, atol=1e-4, rtol=1e-5)
    with pytest.raises(UserError, match="leave out :cls"):
        load(spec(tmp_path / "tuned.pth", "cls"))


def test_heads_of_vit_huge() -> None:
    state = {"patch_embed.proj.weight": torch.zeros(1280, 3, 14, 14), "cls_token": torch.zeros(1, 1, 1280)}
    state |= {"pos_embed": torch.zeros(1, 257, 1280), "norm.weight": torch.zeros(1280)}
    assert infer_config(state, "file").heads == 16


def test_our_own_file_is_read_back_at_the_class_token(tmp_path: Path) -> None:
    backbone, images = ViT(ARCH).eval(), random_images(2)
    blueprint = configure("nano", OPTIONS.read({}))
    facts = encoder_facts("mae", asdict(ARCH), blueprint.preprocess, EncoderCard("mae", "unknown", ("nih",)))
    write_encoder(tmp_path / "e.safetensors", backbone.state_dict(), facts, half=False)
    encoder = load(spec(tmp_path / "e.safetensors"))
    torch.testing.assert_close(encoder(images).pooled, backbone(images)[0][:, 0])
    assert (encoder.preprocess, encoder.card.pretrained_on) == (blueprint.preprocess, ("nih",))
    untrained: Any = METHOD.untrained("nano-32", 0)
    assert untrained.pooling == "cls"


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cxrbench pretrain mae"):
        load(EncoderRequest("mae", None, None))
    state = dict(timm_vit(3).state_dict())
    torch.save({"model": state | {"extra.weight": torch.zeros(2)}}, tmp_path / "extra.pth")
    with pytest.raises(UserError, match=r"unexpected: extra\.weight"):
        load(spec(tmp_path / "extra.pth"))
    del state["blocks.2.attn.qkv.bias"]
    torch.save({"model": state | DECODER}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"missing: blocks\.2\.attn\.qkv\.bias"):
        load(spec(tmp_path / "part.pth"))
    torch.save(ViT(replace(ARCH, class_token=False)).state_dict(), tmp_path / "no_cls.pth")
    with pytest.raises(UserError, match="without cls_token"):
        load(spec(tmp_path / "no_cls.pth"))
    torch.save(DECODER, tmp_path / "decoder.pth")
    with pytest.raises(UserError, match=r"lacks patch_embed\.proj\.weight"):
        load(spec(tmp_path / "decoder.pth"))
