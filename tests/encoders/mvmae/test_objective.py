"""MVMAE's objective against the invariants of its specification, numbered as there."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from cxrbench.encoders.backbones.masking import masked_error, patchify, random_masking
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.mvmae.backbone import MultiviewBackbone, backbone_config
from cxrbench.encoders.mvmae.decoder import MultiviewDecoder
from cxrbench.encoders.mvmae.losses import spread
from cxrbench.encoders.mvmae.objective import METHOD, MVMAE, configure
from cxrbench.encoders.mvmae.options import OPTIONS, preprocess_of
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.errors import UserError

ARCH = ViTConfig(64, 4, 1, 4, 24, 1, qk_norm=True, learned_positions=True, norm_eps=1e-5)  # 36 patches
PRESENT = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [True, True, False]])
VIEWS = torch.tensor([[0, 1, 2], [0, 1, 0], [1, 0, 0], [0, 0, 0]])


def draw(seed: int = 0, progress: float = 0.999) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), progress=progress)


def objective(arch: ViTConfig = ARCH, **options: object) -> MVMAE:
    torch.manual_seed(0)
    return MVMAE(arch, OPTIONS.read(options)).eval()


def batch(seed: int = 0, size: int = 24, present: torch.Tensor = PRESENT) -> Batch:
    images = torch.randn(4, 3, 1, size, size, generator=torch.Generator().manual_seed(seed))
    return Batch(images * present[:, :, None, None, None], {"views": VIEWS, "present": present})


def terms(model: MVMAE, given: Batch, seed: int = 0, progress: float = 0.999) -> dict[str, float]:
    loss = model(given, draw(seed, progress))
    return {"loss": float(loss.value.detach())} | {name: float(value) for name, value in loss.logged.items()}


# 1. Masking and order


def test_visible_tokens_of_the_papers_ratios() -> None:
    big = ViTConfig(64, 4, 1, channels=1, qk_norm=True, learned_positions=True)
    assert [objective(big, mask=mask).visible for mask in (0.9, 0.93, 0.75)] == [19, 13, 49]
    for mask in (0.9, 0.93):
        assert objective(big, mask=mask).visible == int(196 * (1 - mask))
    with pytest.raises(UserError, match="leaves 0 of 36 patches"):
        objective(mask=0.99)


def test_masks_are_permutations_and_each_views_own() -> None:
    model = objective(mask=0.75)
    masking = model.encode(batch(), draw()).masking
    order = masking.restore.argsort(dim=1)
    assert (masking.restore.gather(1, order) == torch.arange(36)).all()
    assert torch.equal(order[:, :9], masking.kept)
    assert (masking.hidden.sum(1) == 27).all()
    assert len(masking.kept.sort(1).values.unique(dim=0)) == 8  # of 8 views
    shared = objective(mask=0.75, align="token_shared_mask").encode(batch(), draw()).masking.kept
    assert len(shared.unique(dim=0)) == 4
    assert torch.equal(shared[0], shared[2])


def test_decoder_gives_patches_in_raster_order() -> None:
    decoder = MultiviewDecoder(ARCH, 1)
    decoder.blocks, decoder.norm, decoder.predict = nn.ModuleList(), nn.Identity(), nn.Identity()  # type: ignore[assignment]
    for table in (decoder.pos_embed, decoder.modality):
        nn.init.zeros_(table)
    nn.init.constant_(decoder.mask_token, -1)
    masking = random_masking(draw().rand(2, 36), 9)
    encoded = torch.cat([torch.full((2, 1), 99), masking.kept], dim=1).float()[:, :, None].expand(-1, -1, 64)
    out = decoder(encoded, masking.restore, torch.zeros(2, dtype=torch.long))[:, :, 0]
    expected = torch.where(masking.hidden, torch.tensor(-1), torch.arange(36)).float()
    torch.testing.assert_close(out, expected)


def test_positions_are_of_places_and_views_reach_the_class_token_in_the_decoder_only() -> None:
    model, seen = objective(mask=0.75), batch()
    encoded = model.encode(seen, draw())
    nn.init.constant_(model.decoder.modality[2], 3.0)
    before = model.decoder(encoded.tokens, encoded.masking.restore, encoded.views)
    other = model.decoder(encoded.tokens, encoded.masking.restore, torch.full_like(encoded.views, 2))
    assert (before - other).abs().amax(dim=(1, 2))[:2].min() > 1e-3
    backbone = model.backbone
    class_token = backbone.with_class_token(backbone.embed(torch.randn(2, 1, 24, 24), torch.tensor([0, 1])))[:, 0]
    assert torch.equal(class_token, backbone.cls_token[0].expand(2, -1))  # type: ignore[index]


# 2. What is seen is no target


def test_visible_pixels_are_no_target() -> None:
    model = objective(mask=0.75)
    seen = model.encode(batch(), draw())
    made = model.decoder(seen.tokens, seen.masking.restore, seen.views).detach()
    target = seen.target.detach().clone().requires_grad_()
    masked_error(made, target, seen.masking.hidden).sum().backward()
    assert target.grad is not None
    moved = target.grad.abs().sum(dim=2) > 0
    assert torch.equal(moved, seen.masking.hidden)
    assert torch.equal(seen.target, patchify(batch().images[PRESENT], 4))
    perfect = torch.where(seen.masking.hidden[:, :, None], seen.target, 7.0)
    assert masked_error(perfect, seen.target, seen.masking.hidden).abs().max() == 0


# 3. The scale of the reconstruction


class Constant(nn.Module):
    """A decoder that is wrong by 0.5 everywhere: it is asked for images of 0."""

    modality = torch.zeros(3, 64)

    def forward(self, tokens: torch.Tensor, restore: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        return torch.full((*restore.shape, 16), 0.5)


def test_constant_error_is_its_square() -> None:
    hundred = ViTConfig(64, 4, 1, 4, 40, 1, qk_norm=True, learned_positions=True)
    for arch, size, share in ((hundred, 40, 0.9), (ARCH, 24, 33 / 36)):
        black = Batch(torch.zeros(4, 3, 1, size, size), batch().more)
        values = {}
        for variant in ("fixed", "paper", "official"):
            model = objective(arch, variant=variant, mask=0.9)
            if arch is hundred:
                model.visible = 10  # the official int(100 * (1 - 0.9)) is 9
            model.decoder = Constant()  # type: ignore[assignment]
            values[variant] = terms(model, black)["reconstruction"]
        assert values["fixed"] == pytest.approx(0.25)
        assert values["paper"] == pytest.approx(0.25 * share / 0.9)
        assert values["official"] == pytest.approx(0.25 * share / 0.9 * 8 / 12)  # 8 views in 12 slots


def test_official_total_from_its_formula() -> None:
    given, model = batch(), objective(variant="official", mask=0.75)
    seen = model.encode(given, draw())
    made = model.decoder(seen.tokens, seen.masking.restore, seen.views)
    error = ((made - seen.target) ** 2 * seen.masking.hidden[:, :, None]).mean(dim=(1, 2)) / 0.75
    rec = spread(error, PRESENT).mean(dim=0).mean()  # batch with missing views, then slots
    feature = spread(nn.functional.normalize(seen.tokens.mean(dim=1), dim=1), PRESENT)
    both = (PRESENT[:, :, None] & PRESENT[:, None]).float()
    align = ((feature[:, :, None] - feature[:, None]).square().mean(3) * both).sum(dim=(1, 2)).div(9).mean()
    beta = 2 / (1 + math.exp(-10 * (0.6 - 0.1 - 0.55)))
    assert terms(model, given, progress=0.6)["loss"] == pytest.approx((rec + beta * align).item(), rel=1e-5)


# 4. and 6. When views agree


def test_no_alignment_for_one_view_or_beta_0() -> None:
    alone = batch(present=torch.tensor([[True, False, False]] * 4))
    found = terms(objective(), alone)
    assert found["alignment"] == 0
    assert found["loss"] == found["reconstruction"]
    independent = terms(objective(beta=0), batch())
    assert independent["alignment"] > 0
    assert independent["loss"] == independent["reconstruction"]
    together = terms(objective(), batch())
    assert together["loss"] == pytest.approx(together["reconstruction"] + together["beta"] * together["alignment"])
    assert together["beta"] == pytest.approx(2, abs=0.01)
    assert terms(objective(), batch(), progress=0.05)["beta"] == 0


@pytest.mark.parametrize("align", ["pooled", "token_index", "token_shared_mask"])
def test_identical_views_agree_under_one_mask_and_one_modality(align: str) -> None:
    image = torch.randn(4, 1, 1, 24, 24)
    same = Batch(image.expand(-1, 3, -1, -1, -1), {"views": torch.zeros_like(VIEWS), "present": PRESENT})
    found = terms(objective(align=align, mask=0.75), same)["alignment"]
    other = Batch(same.images, {"views": VIEWS, "present": PRESENT})
    if align == "token_shared_mask":
        assert found < 1e-12
    else:  # each view has its own mask: eq. 1 compares places that differ
        assert found > 1e-5
    assert terms(objective(align=align, mask=0.75), other)["alignment"] > 1e-6


@pytest.mark.parametrize("align", ["pooled", "token_shared_mask"])
def test_views_that_share_a_mask_are_cut_and_turned_alike(align: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[torch.Tensor] = []
    target = "cxrbench.encoders.mvmae.objective.augment"
    monkeypatch.setattr(target, lambda images, u, *, flip, size: given.append(u) or images)
    objective(align=align, mask=0.75).augmented(batch(), draw())
    u = given[0]
    first, second = u[:2]  # two images of one study
    assert torch.equal(first[:4], second[:4]) == (align == "token_shared_mask")
    assert not torch.equal(u[0, :4], u[3, :4])  # of another
    assert (first[4:] != second[4:]).all()


# 5. Slots without an image


def test_padded_slots_contribute_nothing() -> None:
    model = objective()
    clean = batch()
    garbage = torch.where(PRESENT[:, :, None, None, None], clean.images, math.nan)
    spoilt = Batch(garbage, {"views": torch.where(PRESENT, VIEWS, 2), "present": PRESENT})
    gradients = []
    for given in (clean, spoilt):
        model.zero_grad()
        model(given, draw()).value.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert terms(model, clean) == terms(model, spoilt)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


# 7. The table of views


def test_rows_of_the_table_may_be_swapped_with_the_indices() -> None:
    model, given = objective(), batch()
    swapped = copy.deepcopy(model)
    with torch.no_grad():
        for table in (swapped.backbone.modality, swapped.decoder.modality):
            table.copy_(table[[1, 0, 2]])
    other = Batch(given.images, {"views": torch.tensor([1, 0, 2])[VIEWS], "present": PRESENT})
    assert terms(swapped, other) == pytest.approx(terms(model, given))
    assert terms(model, other)["loss"] != terms(model, given)["loss"]


def test_without_a_mask_there_are_197_tokens() -> None:
    backbone = MultiviewBackbone(backbone_config("192x4p16s224"))
    tokens, maps = backbone(torch.zeros(1, 1, 224, 224), torch.tensor([0]))
    assert tokens.shape == (1, 197, 192)
    assert [m.shape[2:] for m in maps] == [(14, 14)] * 4


# Training


def test_class_token_stays_without_a_position() -> None:
    model = objective().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    for step in range(3):
        model(batch(step), draw(step)).value.backward()
        optimizer.step()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert model.backbone.pos_embed[:, 0].abs().max() == 0
    assert (model.backbone.pos_embed[:, 1:] != objective().backbone.pos_embed[:, 1:]).all()


@pytest.mark.parametrize("variant", ["fixed", "paper", "official"])
def test_processes_share_what_one_process_does(variant: str) -> None:
    """Two halves of a batch, each with its share of the draws: losses and gradients are the mean's."""
    model, given = objective(variant=variant).train(), batch()
    half = [
        Batch(given.images[part], {name: value[part] for name, value in given.more.items()})
        for part in (slice(0, 2), slice(2, 4))
    ]
    model(given, draw()).value.backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for rank in (0, 1):
        model(half[rank], Draw(torch.Generator().manual_seed(0), rank, 2, 0.999)).value.div(2).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, whole[name], atol=1e-6, rtol=1e-3)


def test_randomness_comes_from_the_draw() -> None:
    model, studies = objective(), batch()
    still = [terms(model, studies, seed)["loss"] for seed in (3, 3, 4)]
    assert still[0] == still[1] != still[2]
    one, again, other = (model.augmented(studies, draw(seed)).images for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert all((one[k] != other[k]).any() for k in range(len(one)))
    assert objective(augment=False).augmented(studies, draw(3)) is studies


def test_float32_loss_under_autocast_and_the_cost_of_a_step() -> None:
    model = objective()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(batch(), draw())
    assert mixed.value.dtype == torch.float32
    assert float(mixed.value.detach()) == pytest.approx(terms(model, batch())["loss"], rel=0.02)
    two = Batch(batch().images[:2], {"views": VIEWS[:2], "present": PRESENT[:2]})
    cost = step_cost(objective(), two)
    n, d, images = 4, 64, 5  # three of 36 patches are seen, and CLS

    def block_cost(tokens: int) -> int:
        return tokens * 12 * d * d + 2 * tokens * tokens * d

    encoder = 36 * 16 * d + 4 * block_cost(n)
    decoder = 4 * block_cost(37) + 37 * d * 16
    assert cost.forward == pytest.approx(2 * images * (encoder + decoder) / 2 / 1e9, rel=0.01)


def test_gradient_checkpointing_changes_nothing() -> None:
    model = objective()
    again = copy.deepcopy(model)
    again.backbone.gradient_checkpointing = again.decoder.gradient_checkpointing = True
    for each in (model, again):
        each(batch(), draw()).value.backward()
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_picture_is_image_visible_part_and_reconstruction() -> None:
    model = objective(mask=0.75)
    given = batch()
    picture = model.picture(given, draw())
    assert picture.shape == (4 * 24, 3 * 3 * 24)
    first = model.plain(given.images[0, 0, 0])
    image, seen, made = picture[:24, :24], picture[:24, 24:48], picture[:24, 48:72]
    torch.testing.assert_close(image, first)
    visible = seen != 0
    assert visible.sum() == 9 * 16
    assert torch.equal(image[visible], seen[visible])
    assert torch.equal(made[visible], seen[visible])
    assert not torch.equal(made, image)
    assert picture[2 * 24 : 3 * 24, 72:].abs().max() == 0  # the third study has one view


def test_it_learns_to_reconstruct_and_to_align() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(4, 3, 1, 4, 4, generator=generator).repeat(1, 1, 1, 6, 6)
    given = Batch(patterns, {"views": torch.zeros_like(VIEWS), "present": PRESENT})
    found = {}
    for beta in (0.0, 20.0):
        model = objective(mask=0.5, beta=beta, augment=False, decoder_depth=1).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        before = terms(model.eval(), given)
        for step in range(25):
            loss = model.train()(given, draw(step)).value
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[beta] = terms(model.eval(), given)
        assert found[beta]["reconstruction"] < 0.5 * before["reconstruction"]
    assert found[20.0]["alignment"] < 0.3 * found[0.0]["alignment"]


# Variants and options


def test_variants_switch_what_they_say() -> None:
    fixed, paper, official = (OPTIONS.read({"variant": name}) for name in ("fixed", "paper", "official"))
    assert [o.mask for o in (fixed, paper, official)] == [0.9, 0.9, 0.93]
    assert [o.align for o in (fixed, paper, official)] == ["pooled", "token_index", "pooled"]
    assert [(o.augment, o.flip) for o in (fixed, paper, official)] == [(True, False), (True, True), (True, True)]
    assert [o.late_midpoint for o in (fixed, paper, official)] == [False, False, True]
    preprocesses = [preprocess_of(ARCH, o) for o in (fixed, paper, official)]
    assert [p.resize for p in preprocesses] == ["squash", "crop", "squash"]
    assert [p.mean + p.std for p in preprocesses] == [(0.5056, 0.252), (0.0, 1.0), (0.5056, 0.252)]
    centre = preprocess_of(backbone_config("base"), paper)
    assert centre.size / centre.crop_pct == 256
    betas = [terms(objective(variant=o.variant, mask=0.9), batch(), progress=0.0)["beta"] for o in (paper, official)]
    assert betas == pytest.approx([0, 2 / (1 + math.exp(5.5))])


def test_blueprint_is_the_officials_recipe() -> None:
    blueprint = METHOD.configure("base", {"beta": "0", "max_views": "1"})
    recipe = METHOD.recipes["fixed"]
    assert (recipe.epochs, recipe.batch_size, recipe.clip, recipe.betas) == (500, 64, 1.0, (0.9, 0.999))
    assert recipe.lr == pytest.approx(1.2e-4 * 64 / 256)
    assert (blueprint.options.beta, blueprint.options.max_views) == (0.0, 1)
    assert configure("nano", OPTIONS.read({})).preprocess.size == 128


@pytest.mark.parametrize(
    "wrong",
    [{"mask": 1}, {"mask": 0}, {"beta": -1}, {"align": "cls"}, {"max_views": 0}, {"text": "report"}, {"ratio": 1}],
)
def test_wrong_options_are_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        OPTIONS.read(wrong)
    assert "\n" not in str(caught.value)
