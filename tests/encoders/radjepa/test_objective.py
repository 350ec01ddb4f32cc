"""RadJEPA against the invariants of its specification, numbered as there; 1 to 3 are test_multiblock's."""

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrbench.encoder import EncoderRequest
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.backbones.encoder import IMAGENET_MEAN, IMAGENET_STD, gray_preprocess
from cxrbench.encoders.backbones.masking import take
from cxrbench.encoders.backbones.vit import ViTConfig, parse_arch
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.encoders.pretraining.schedule import learning_rate_factor, parameter_groups
from cxrbench.encoders.radjepa.encoder import FILE, REPOSITORY, load
from cxrbench.encoders.radjepa.multiblock import as_grids
from cxrbench.encoders.radjepa.objective import METHOD, RadJEPA, configure, latent_loss
from cxrbench.encoders.radjepa.options import OPTIONS
from cxrbench.encoders.radjepa.predictor import JepaPredictor, predictor_width
from cxrbench.encoders.recipes.radjepa import RECIPES
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError

ARCH = ViTConfig(width=64, depth=4, heads=1, patch=4, size=32, channels=1, class_token=False)  # 8 x 8 patches
PUBLISHED = ViTConfig(width=128, depth=4, heads=2, patch=14, size=56, channels=3, class_token=False)


def draw(seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), rank, world)


def objective(arch: ViTConfig = ARCH, **options: Any) -> RadJEPA:
    torch.manual_seed(0)
    return RadJEPA(arch, OPTIONS.read(options))


def random_images(count: int, seed: int = 0, arch: ViTConfig = ARCH) -> Tensor:
    return torch.randn(count, arch.channels, arch.size, arch.size, generator=torch.Generator().manual_seed(seed))


# 4. The target follows the context encoder


def test_target_starts_equal_is_another_object_and_has_no_gradient() -> None:
    model = objective()
    assert model.target.module is not model.backbone
    pairs = list(zip(model.target.parameters(), model.backbone.parameters(), strict=True))
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    model(Batch(random_images(3)), draw()).value.backward()
    assert all(a.grad is None and not a.requires_grad for a, _ in pairs)
    trained = dict(model.backbone.named_parameters(prefix="backbone")) | dict(model.predictor.named_parameters())
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    optimized = {id(p) for group in parameter_groups(model, 0.04) for p in group["params"]}  # type: ignore[attr-defined]
    assert not optimized & {id(p) for p in model.target.parameters()}


def test_momentum_goes_linearly_to_one_over_the_run() -> None:
    model = objective(momentum="0.9")
    start = copy.deepcopy(model.target.module.state_dict())
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(1.0)
    left, steps = 1.0, 5
    for step in range(steps):
        model.after_step(step / steps)
        left *= 0.9 + 0.1 * step / steps
    for name, parameter in model.target.module.named_parameters():
        torch.testing.assert_close(parameter.detach(), start[name] + 1 - left, atol=1e-5, rtol=0)
    before = copy.deepcopy(model.target.module.state_dict())
    model.after_step(1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.target.module.state_dict().items())


def test_without_momentum_the_target_is_the_encoder_itself() -> None:
    model = objective(momentum=0, final_momentum=0)
    with torch.no_grad():
        model.backbone.norm.bias.add_(1.0)
    model.after_step(0.5)
    assert all(torch.equal(a, b) for a, b in zip(model.target.parameters(), model.backbone.parameters(), strict=True))


# 5. The loss


@pytest.mark.parametrize("kind", ["smooth_l1", "mse"])
def test_loss_is_zero_only_for_the_normalised_target(kind: Any) -> None:
    model, features = objective(), 5 + 3 * torch.randn(2, 64, 64)
    targets = model.masks(2, draw(), torch.device("cpu")).targets
    wanted = model.wanted(features, targets)
    assert float(latent_loss(wanted, wanted, kind)) == 0
    changed = wanted.clone()
    changed[3, 1, 7] += 0.5
    expected = 0.5 * 0.25 if kind == "smooth_l1" else 0.25
    assert float(latent_loss(changed, wanted, kind)) == pytest.approx(expected / wanted.numel(), rel=1e-4)
    raw = take(features, targets.flatten(1)).reshape(wanted.shape)
    assert float(latent_loss(raw, wanted, kind)) > 0.5


def test_targets_are_standardized_tokens_whatever_their_scale() -> None:
    model, features = objective(), torch.randn(2, 64, 64)
    targets = model.masks(2, draw(), torch.device("cpu")).targets
    wanted = model.wanted(features, targets)
    assert wanted.shape == (8, targets.shape[2], 64)
    torch.testing.assert_close(wanted.mean(dim=-1), torch.zeros(wanted.shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(wanted.var(dim=-1, correction=0), torch.ones(wanted.shape[:2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.wanted(7 * features - 3, targets), wanted, atol=1e-4, rtol=0)
    for image in range(2):  # block k of image b is row 4 b + k
        for k in range(4):
            mine = F.layer_norm(features[image, targets[image, k]], (64,))
            torch.testing.assert_close(wanted[4 * image + k], mine)
    plain = objective(normalise_targets="false").wanted(features, targets)
    torch.testing.assert_close(plain[5], features[1, targets[1, 1]])


def test_smooth_l1_and_mse_are_what_they_are_called() -> None:
    difference = torch.tensor([[0.0, 0.5, -2.0, 4.0]])
    assert float(latent_loss(difference, torch.zeros(1, 4), "smooth_l1")) == pytest.approx((0.125 + 1.5 + 3.5) / 4)
    assert float(latent_loss(difference, torch.zeros(1, 4), "mse")) == pytest.approx((0.25 + 4 + 16) / 4)


def test_loss_is_float32_under_autocast() -> None:
    a, b = torch.randn(2, 4, 3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = latent_loss(a.bfloat16(), b, "smooth_l1")
        whole = objective()(Batch(random_images(2)), draw()).value
    assert mixed.dtype == whole.dtype == torch.float32
    assert float(mixed) == float(latent_loss(a.bfloat16(), b, "smooth_l1"))
    again = objective()(Batch(random_images(2)), draw()).value
    assert float(whole.detach()) == pytest.approx(float(again.detach()), rel=0.02)


# 6. and 7. What the networks see


def test_context_features_do_not_depend_on_hidden_pixels() -> None:
    model, images = objective(), random_images(3)
    context = model.masks(3, draw(), images.device).context
    features = model.backbone.encode(take(model.backbone.embed(images), context))
    seen = as_grids(context, 8).reshape(3, 1, 8, 8).repeat_interleave(4, -1).repeat_interleave(4, -2)
    changed = torch.where(seen, images, 100.0)
    assert torch.equal(model.backbone.encode(take(model.backbone.embed(changed), context)), features)
    order = torch.randperm(context.shape[1])
    permuted = model.backbone.encode(take(model.backbone.embed(images), context[:, order]))
    torch.testing.assert_close(permuted, features[:, order], atol=1e-5, rtol=0)


def test_the_loss_changes_with_hidden_pixels_through_the_target_alone() -> None:
    model, images = objective(), random_images(2)
    masks = model.masks(2, draw(5), images.device)
    outside = ~as_grids(masks.context, 8).reshape(2, 1, 8, 8).repeat_interleave(4, -1).repeat_interleave(4, -2)
    changed = torch.where(outside, images + 1, images)
    before, after = (float(model(Batch(x), draw(5)).value.detach()) for x in (images, changed))
    assert before != after
    contexts = [model.backbone.encode(take(model.backbone.embed(x), masks.context)) for x in (images, changed)]
    predictions = [model.predictor(c, masks.context, masks.targets) for c in contexts]
    assert torch.equal(*predictions)


def test_no_cls_token_and_the_shape_of_predictions() -> None:
    model = objective(replace(PUBLISHED, size=224))
    images = random_images(2, arch=model.backbone.config)
    assert model.backbone(images)[0].shape == (2, 256, 128)
    masks = model.masks(2, draw(), images.device)
    context = model.backbone.encode(take(model.backbone.embed(images), masks.context))
    assert context.shape == (2, masks.context.shape[1], 128)
    predicted = model.predictor(context, masks.context, masks.targets)
    assert predicted.shape == (4 * 2, masks.targets.shape[2], 128)


def test_each_block_is_predicted_by_itself_in_the_order_of_images() -> None:
    torch.manual_seed(0)
    predictor = JepaPredictor(ARCH, 2)
    tokens, context = torch.randn(3, 20, 64), torch.stack([torch.randperm(64)[:20] for _ in range(3)])
    targets = torch.stack([torch.randperm(64)[:24].reshape(4, 6) for _ in range(3)])
    whole = predictor(tokens, context, targets).reshape(3, 4, 6, 64)
    for image in range(3):
        for k in range(4):
            alone = predictor(tokens[image, None], context[image, None], targets[image, None, k : k + 1])
            torch.testing.assert_close(alone[0], whole[image, k], atol=1e-5, rtol=0)
    order = torch.randperm(20)
    same = predictor(tokens[:, order], context[:, order], targets).reshape(3, 4, 6, 64)
    torch.testing.assert_close(same, whole, atol=1e-5, rtol=0)
    moved = predictor(tokens, context[:, order], targets).reshape(3, 4, 6, 64)
    assert (moved - whole).abs().max() > 1e-3


def test_predictor_has_the_published_shape_at_vit_b() -> None:
    with torch.device("meta"):
        predictor = JepaPredictor(parse_arch("base", channels=3, patch=14, class_token=False), 6)
    shapes = {name: tuple(p.shape) for name, p in predictor.named_parameters()}
    assert (shapes["embed.weight"], shapes["project.weight"]) == ((384, 768), (768, 384))
    assert (shapes["mask_token"], len(predictor.blocks)) == ((1, 1, 384), 6)
    assert predictor.blocks[0].attn.num_heads == 12  # type: ignore[union-attr]
    assert [predictor_width(heads) for heads in (1, 3, 6, 12, 16, 20)] == [32, 96, 192, 384, 384, 320]
    assert "pos_embed" not in shapes


# Processes, checkpointing, cost


@pytest.mark.parametrize("options", [{}, {"masks": "official", "augment": "true"}])
def test_two_processes_do_together_what_one_does(options: dict[str, Any]) -> None:
    images = random_images(6)

    def step(parts: int) -> tuple[float, dict[str, Tensor], set[float]]:
        model, total, lengths = objective(**options), 0.0, set()
        for rank, part in enumerate(images.chunk(parts)):
            loss = model(Batch(part), draw(3, rank, parts))
            (loss.value / parts).backward()  # DDP averages gradients
            total += float(loss.value.detach()) / parts
            lengths.add(float(loss.logged["context_patches"]))
        return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, lengths

    whole, split = step(1), step(2)
    assert split[0] == pytest.approx(whole[0], rel=1e-5)
    assert split[2] == whole[2]
    for name, gradient in whole[1].items():
        torch.testing.assert_close(split[1][name], gradient, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("rule", ["fixed", "official"])
def test_a_process_may_cut_contexts_to_its_own_shortest(rule: str) -> None:
    images = random_images(6)
    together, apart = (objective(masks=rule, context_length=of) for of in ("joined", "process"))
    joined, own = ([m.masks(3, draw(3, rank, 2), images.device) for rank in (0, 1)] for m in (together, apart))
    assert joined[0].context.shape == joined[1].context.shape
    assert own[0].context.shape != own[1].context.shape
    assert min(mine.context.shape[1] for mine in own) == joined[0].context.shape[1]
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(joined, own, strict=True))
    alone = apart.masks(6, draw(3), images.device)
    assert alone.context.shape[1] == joined[0].context.shape[1]  # of one process it is the same thing


def test_gradient_checkpointing_changes_nothing() -> None:
    losses = []
    for spare in (False, True):
        model = objective()
        model.backbone.gradient_checkpointing = model.predictor.gradient_checkpointing = spare
        loss = model(Batch(random_images(2)), draw()).value
        loss.backward()
        gradient = model.backbone.patch_embed.proj.weight.grad
        assert gradient is not None
        losses.append((float(loss.detach()), gradient))
    assert losses[0][0] == losses[1][0]
    torch.testing.assert_close(losses[0][1], losses[1][1])


def test_flops_in_closed_form() -> None:
    model = objective()
    cost = step_cost(model, Batch(random_images(2)))
    masks = model.masks(2, Draw(torch.Generator().manual_seed(0)), torch.device("cpu"))
    n, m, d, p = masks.context.shape[1], masks.targets.shape[2], 64, predictor_width(1)

    def blocks(depth: int, tokens: int, width: int) -> int:
        return depth * (tokens * 12 * width * width + 2 * tokens * tokens * width)

    encoders = 2 * 64 * 16 * d + blocks(4, 64, d) + blocks(4, n, d)
    predictor = n * d * p + 4 * blocks(2, n + m, p) + 4 * m * p * d
    assert cost.forward == pytest.approx(2 * (encoders + predictor) / 1e9, rel=1e-3)


def test_shapes_hang_on_no_data_so_that_cost_can_be_counted_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = RadJEPA(parse_arch("768x4p14s224", channels=3, class_token=False), OPTIONS.read({}))
        cost = step_cost(model, Batch(torch.zeros(2, 3, 224, 224)))
    target = 2 * (256 * 588 * 768 + 4 * (256 * 12 * 768**2 + 2 * 256**2 * 768)) / 1e9
    assert 1.3 * target < cost.forward < 3 * target


# Variants, options, recipe


def test_variants_switch_what_they_say() -> None:
    names = ("masks", "loss", "normalise_targets", "augment", "channels", "keep", "initialisation", "context_length")
    fixed, paper, official = (
        [asdict(OPTIONS.read({"variant": v}))[n] for n in names] for v in ("fixed", "paper", "official")
    )
    assert fixed == ["fixed", "smooth_l1", True, False, 1, "target", "mae", "joined"]
    assert paper == ["fixed", "mse", False, False, 3, "target", "ijepa", "process"]
    assert official == ["official", "smooth_l1", True, True, 3, "target", "ijepa-undivided", "process"]
    gray: dict[str, Any] = {"channels": 1}
    losses = {
        v: float(objective(**gray, variant=v)(Batch(random_images(3)), draw(1)).value.detach())
        for v in ("fixed", "paper", "official")
    }
    assert len(set(losses.values())) == 3
    model = objective(variant="official", channels=1)
    assert model.blocks.rule == "official"
    masks = [model.masks(4, draw(seed), torch.device("cpu")) for seed in range(30)]
    assert not any(as_grids(m.context, 8).reshape(-1, 8, 8)[:, 7].any() for m in masks)


def test_official_augmentation_crops_without_flipping_and_follows_the_draw() -> None:
    model = objective(variant="official", channels=1)
    ramp = torch.linspace(0, 1, 64).expand(8, 1, 64, 64)
    seen, again, other = (model.augmented(Batch(ramp), draw(seed)).images for seed in (2, 2, 3))
    assert torch.equal(seen, again)
    assert not torch.equal(seen, other)
    assert seen.shape == (8, 1, 32, 32)
    widths = (seen[:, 0, 16, -1] - seen[:, 0, 16, 0]).tolist()
    assert all(0.3 < width < 1.01 for width in widths)  # rising from left to right, never flipped
    assert max(widths) - min(widths) > 0.1


def test_keep_decides_which_encoder_is_kept() -> None:
    for keep in ("target", "context"):
        model = objective(keep=keep)
        with torch.no_grad():
            model.backbone.norm.bias.add_(1.0)
        kept = model.kept().state_dict()["norm.bias"]
        assert float(kept[0]) == (1.0 if keep == "context" else 0.0)


@pytest.mark.parametrize(
    "wrong", [{"mask": 1}, {"variant": "other"}, {"momentum": 1.5}, {"keep": "both"}, {"channels": 2}, {"loss": "l1"},
              {"predictor_depth": -1}, {"final_momentum": "x"}],
)  # fmt: skip
def test_wrong_options_are_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        OPTIONS.read(wrong)
    assert "\n" not in str(caught.value)


def test_named_architectures_have_patches_of_14() -> None:
    nano, base = (configure(name, OPTIONS.read({})).preprocess.size for name in ("nano", "base"))
    assert (nano, base) == (126, 224)
    model = configure("nano", OPTIONS.read({})).objective(None)
    assert isinstance(model, RadJEPA)
    assert (model.backbone.config.side, model.backbone.config.class_token, len(model.predictor.blocks)) == (9, False, 2)
    assert model.architecture() == asdict(METHOD.untrained("", 0).backbone.config)  # type: ignore[attr-defined]
    explicit = configure("192x4p16s128", OPTIONS.read({"channels": "3", "predictor_depth": "3"})).objective(None)
    assert isinstance(explicit, RadJEPA)
    assert (explicit.backbone.config.side, explicit.backbone.config.channels, len(explicit.predictor.blocks)) == (
        8,
        3,
        3,
    )
    assert explicit.preprocess.mean == IMAGENET_MEAN
    with pytest.raises(UserError, match="no multiple of the patch size 14"):
        configure("base-512", OPTIONS.read({}))


def test_recipe_is_i_jepas() -> None:
    recipe = RECIPES["fixed"]
    total, warmup = 3000, round(recipe.warmup * 3000)
    rates = [recipe.lr * learning_rate_factor(s, total, warmup, recipe.start_lr, recipe.final_lr) for s in range(total)]
    assert warmup == 400
    assert rates[0] == pytest.approx(2e-4, rel=0.02)
    assert max(rates) == rates[399] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-6, rel=0.01)
    assert (recipe.weight_decay, recipe.final_weight_decay, recipe.epochs, recipe.batch_size) == (0.04, 0.4, 300, 2048)


def test_picture_is_readable() -> None:
    picture = objective().picture(Batch(random_images(5)), draw())
    assert picture.shape == (3, 96, 160)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


# It learns


def test_it_learns_to_predict_and_does_not_collapse() -> None:
    """Images whose patches all follow from a few numbers can be predicted; embeddings must keep those numbers."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 24)] * 2, indexing="ij")
    numbers = torch.randn(72, 4, generator=generator)
    images = 3 * torch.einsum("bk,kyx->byx", numbers, torch.stack([x, y, (3 * x).sin(), (3 * y).cos()]))[:, None]
    model = objective(replace(ARCH, size=24), momentum=0.97).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.04)
    losses: list[float] = []
    spreads: list[float] = []
    for step in range(40):
        loss = model(Batch(images[:24]), draw(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        model.after_step(step / 40)
        losses.append(float(loss.value.detach()))
        spreads.append(float(loss.logged["spread"]))
        assert float(loss.logged["relaxed"]) == 0
    assert losses[-1] < 0.5 * losses[0]
    assert spreads[-1] > 0.5 * spreads[0] > 0.1
    with torch.no_grad():
        embedded = model.kept()(images)[0].mean(dim=1).double()
    # The numbers of images that it has not seen are read out by ridge regression; collapsed, nothing could be.
    embedded = (embedded - embedded[:48].mean(dim=0)) / embedded[:48].std(dim=0)
    seen, unseen, wanted = embedded[:48], embedded[48:], numbers.double()
    weights = torch.linalg.solve(seen.T @ seen + torch.eye(64).double(), seen.T @ wanted[:48])
    assert float((unseen @ weights - wanted[48:]).square().mean() / wanted[48:].var()) < 0.5


# Files


def request(path: Path | str, variant: str | None = None) -> EncoderRequest:
    return EncoderRequest("radjepa", variant, str(path))


def timm_vit() -> VisionTransformer:
    """The published backbone as others build it, smaller; every weight is its own."""
    torch.manual_seed(4)
    vit = VisionTransformer(
        img_size=56, patch_size=14, embed_dim=128, depth=4, num_heads=2, qkv_bias=True, class_token=False,
        global_pool="", num_classes=0,
    ).eval()  # fmt: skip
    for parameter in vit.parameters():
        nn.init.normal_(parameter, std=0.1)
    return vit


def test_encoder_pools_the_mean_of_normalised_tokens_and_has_four_maps() -> None:
    encoder = METHOD.untrained("192x4p16s128", 3)
    assert encoder.preprocess == gray_preprocess(parse_arch("192x4p16s128", channels=1))
    images = torch.randn(2, 1, 128, 128)
    features = encoder(images)
    tokens = encoder.backbone(images)[0]  # type: ignore[attr-defined]
    torch.testing.assert_close(features.pooled, tokens.mean(dim=1))
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 64), atol=1e-5, rtol=0)  # after the norm
    assert [m.shape for m in features.maps] == [(2, 192, 8, 8)] * 4


LAYOUTS = {
    "encoder": lambda mine, other: {"encoder": mine},
    "nested": lambda mine, other: {"state_dict": {"encoder": mine}, "epoch": 3},
    "distributed": lambda mine, other: {"encoder": {f"module.{k}": v for k, v in mine.items()}},
    "both prefixes": lambda mine, other: {"encoder": {f"module.encoder.{k}": v for k, v in mine.items()}},
    "i-jepa": lambda mine, other: {
        "encoder": {f"module.{k}": v for k, v in other.items()},
        "predictor": {f"module.{k}": v for k, v in other.items()},
        "target_encoder": {f"module.{k}": v for k, v in mine.items()},
        "opt": {"state": {0: {"exp_avg": torch.zeros(2)}}}, "scaler": None, "epoch": 300, "lr": 1e-3,
    },
    "bare": lambda mine, other: mine,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_load_strictly_and_equal_timm(tmp_path: Path, layout: str) -> None:
    vit = timm_vit()
    other = {name: tensor + 1 for name, tensor in vit.state_dict().items()}
    torch.save(LAYOUTS[layout](vit.state_dict(), other), tmp_path / "weights.pth.tar")
    encoder = load(request(tmp_path / "weights.pth.tar")).eval()
    images = torch.randn(2, 3, 56, 56)
    expected = vit.forward_features(images)
    torch.testing.assert_close(encoder(images).pooled, expected.mean(dim=1), atol=1e-4, rtol=1e-4)
    maps = vit.forward_intermediates(images, indices=[0, 1, 2, 3], intermediates_only=True)
    for ours, theirs in zip(encoder(images).maps, maps, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert (encoder.preprocess.mean, encoder.preprocess.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (encoder.preprocess.size, encoder.preprocess.channels) == (56, 3)
    assert encoder.card.pretrained_on == ()


def test_published_file_in_a_folder_and_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    torch.save({"encoder": timm_vit().state_dict()}, folder / FILE)
    snapshot = tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    (snapshot / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("a" * 40)
    (folder / FILE).rename(snapshot / "snapshots" / ("a" * 40) / FILE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    images = torch.randn(1, 3, 56, 56)
    names = [REPOSITORY, REPOSITORY.replace("AIDE", "AIDe"), str(snapshot / "snapshots" / ("a" * 40))]
    encoders = [load_encoder(f"radjepa@{name}", synthetic=False).module for name in names]
    for encoder in encoders:
        assert encoder.card.method == "RadJEPA"  # type: ignore[attr-defined]
        assert set(encoder.card.pretrained_on) == {"brax", "chexpert", "mimic", "nih", "padchest"}  # type: ignore[attr-defined]
        assert torch.equal(encoder(images).pooled, encoders[0](images).pooled)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"cannot fetch AIDElab.*hf download .* --local-dir FOLDER"):
        load(request(REPOSITORY))
    with pytest.raises(UserError, match=f"folder without {FILE}"):
        load(request(folder))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("half", [False, True])
def test_what_training_keeps_is_read_back(tmp_path: Path, channels: int, half: bool) -> None:
    model = objective(replace(ARCH, channels=channels), channels=channels)
    facts = encoder_facts("radjepa", model.architecture(), model.preprocess, METHOD.untrained("", 0).card)  # type: ignore[attr-defined]
    write_encoder(tmp_path / "e.safetensors", model.kept().state_dict(), facts, half=half)
    encoder = load(request(tmp_path / "e.safetensors"))
    images = random_images(2, arch=model.backbone.config)
    expected = model.target(images)[0].mean(dim=1)
    torch.testing.assert_close(encoder(images).pooled, expected, atol=0.02 if half else 1e-6, rtol=0)
    assert encoder.preprocess == model.preprocess


def test_mean_and_deviation_of_the_patches_of_the_same_file(tmp_path: Path) -> None:
    model = objective()
    facts = encoder_facts("radjepa", model.architecture(), model.preprocess, METHOD.untrained("", 0).card)  # type: ignore[attr-defined]
    write_encoder(tmp_path / "e.safetensors", model.kept().state_dict(), facts, half=False)
    images = random_images(2)
    pooled = load(request(tmp_path / "e.safetensors", "mean+sd"))(images).pooled
    tokens = model.target(images)[0].numpy()
    torch.testing.assert_close(pooled[:, :64], load(request(tmp_path / "e.safetensors", "mean"))(images).pooled)
    assert pooled[:, 64:].detach().numpy() == pytest.approx(tokens.std(axis=1), abs=1e-5)


def test_wrong_files_and_specs_are_one_line(tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    torch.save(
        {"encoder": state | {"cls_token": torch.zeros(1, 1, 128), "pos_embed": torch.zeros(1, 17, 128)}},
        tmp_path / "cls.pth",
    )
    with pytest.raises(UserError, match="with cls_token, and radjepa's has none"):
        load(request(tmp_path / "cls.pth"))
    torch.save({"encoder": {k: v for k, v in state.items() if k != "blocks.1.norm1.bias"}}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"missing: blocks.1.norm1.bias"):
        load(request(tmp_path / "part.pth"))
    torch.save({"encoder": state | {"head.weight": torch.zeros(2, 128)}}, tmp_path / "head.pth")
    with pytest.raises(UserError, match=r"unexpected: head.weight"):
        load(request(tmp_path / "head.pth"))
    torch.save({"predictor": state, "epoch": 1}, tmp_path / "none.pth")
    with pytest.raises(UserError, match="no weights under target_encoder or encoder; it contains: predictor, epoch"):
        load(request(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="radjepa has no CLS token"):
        load(request(tmp_path / "cls.pth", "cls"))
    with pytest.raises(UserError, match="cxrbench pretrain radjepa"):
        load(EncoderRequest("radjepa", None, None))
    with pytest.raises(UserError, match="no weights file"):
        load(request("AIDElab/other"))
    with pytest.raises(UserError, match="no CLS token"):
        load_encoder("random:radjepa:cls", synthetic=True)
