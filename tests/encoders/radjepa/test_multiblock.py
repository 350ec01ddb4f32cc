"""Block masks against the invariants of the specification and what is known of the published sampler."""

import math

import pytest
import torch
from torch import Tensor

from cxrbench.encoders.radjepa.multiblock import (
    BlockMasks,
    MultiBlock,
    Rule,
    as_grids,
    block_sizes,
    keeping_order,
    masks_on_images,
    sample,
    shortened,
)
from cxrbench.errors import UserError

RULES: tuple[Rule, ...] = ("fixed", "official")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rectangles(targets: Tensor, side: int) -> set[tuple[int, int]]:
    """Height and width of each target [..., m]; fails on one that is no rectangle, or not in raster order."""
    shapes = set()
    for block in targets.flatten(0, -2).tolist():
        rows, columns = sorted({k // side for k in block}), sorted({k % side for k in block})
        assert rows == list(range(rows[0], rows[-1] + 1))
        assert columns == list(range(columns[0], columns[-1] + 1))
        assert block == [side * y + x for y in rows for x in columns]
        shapes.add((len(rows), len(columns)))
    return shapes


def overlaps(masks: BlockMasks, side: int) -> int:
    """Images whose context holds a patch of a target."""
    hidden = as_grids(masks.targets, side).any(dim=1)
    return int((as_grids(masks.context, side) & hidden).any(dim=1).sum())


# 1. Context and targets are disjoint where nothing was relaxed


@pytest.mark.parametrize("rule", RULES)
def test_no_overlap_and_nothing_relaxed_at_16_by_16(rule: Rule) -> None:
    blocks = MultiBlock(16, rule)
    assert blocks.kept == 10
    for seed in range(200):
        masks = sample(blocks, 32, generator(seed))
        assert masks.relaxed == 0
        assert overlaps(masks, 16) == 0


def test_relaxed_constraints_are_counted_and_let_targets_in() -> None:
    blocks = MultiBlock(16, min_keep=140)
    seen = [sample(blocks, 16, generator(seed)) for seed in range(30)]
    assert sum(m.relaxed for m in seen) > 0
    assert all(m.relaxed <= 4 * 16 for m in seen)
    for masks in seen:
        assert masks.context.shape[1] > 140
        assert overlaps(masks, 16) <= masks.relaxed  # an image counts at least once
    assert sum(overlaps(m, 16) for m in seen) > 0
    assert sample(MultiBlock(16, min_keep=195), 64, generator()).relaxed >= 2 * 64  # 200 to 256 without any target


def test_a_sampler_that_could_never_end_is_refused() -> None:
    MultiBlock(16, min_keep=224)  # the smallest context block has 15 x 15
    with pytest.raises(UserError, match="no context block of 16 x 16 patches has more than 225"):
        MultiBlock(16, min_keep=225)
    with pytest.raises(UserError, match="at least 4 x 4"):
        MultiBlock(3)


# 2. Equal lengths, unique numbers inside the grid, whole rectangles, enough context


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("side", [4, 5, 6, 8, 9, 14, 16])
def test_shapes_on_every_grid(rule: Rule, side: int) -> None:
    blocks = MultiBlock(side, rule)
    for seed in range(40):
        masks = sample(blocks, 8, generator(seed))
        target, _ = block_sizes(blocks, generator(seed))
        assert rectangles(masks.targets, side) == {target}
        assert masks.targets.shape == (8, 4, math.prod(target))
        assert masks.context.shape[0] == 8
        assert masks.context.shape[1] > blocks.kept == 10 * side**2 // 256
        assert (masks.context.diff(dim=1) > 0).all()  # ascending, hence unique
        assert 0 <= int(masks.context.min()) <= int(masks.context.max()) < side**2
        assert masks.relaxed > 0 or overlaps(masks, side) == 0


def test_contexts_are_cut_to_the_shortest() -> None:
    seen = torch.rand(50, 100, generator=generator()) < torch.linspace(0.3, 0.9, 50)[:, None]
    for rule in RULES:
        cut = shortened(seen, keeping_order(seen, rule, generator()))
        assert cut.shape == (50, int(seen.sum(dim=1).min()))
        assert as_grids(cut, 10).logical_and(~seen).sum() == 0
    official = shortened(seen, keeping_order(seen, "official", generator()))
    for row, kept in zip(seen, official, strict=True):
        assert kept.tolist() == row.nonzero().flatten()[: official.shape[1]].tolist()


# 3. One size per batch, whoever draws


def test_sizes_follow_from_the_seed_alone_and_the_batch_is_shared() -> None:
    blocks = MultiBlock(16)
    whole = sample(blocks, 12, generator(7))
    again = sample(blocks, 12, generator(7))
    assert torch.equal(whole.context, again.context)
    assert torch.equal(whole.targets, again.targets)
    assert rectangles(sample(blocks, 5, generator(7)).targets, 16) == rectangles(whole.targets, 16)
    part = whole.rows(slice(4, 8))
    assert torch.equal(part.targets, whole.targets[4:8])
    assert part.context.shape == (4, whole.context.shape[1])
    assert len({block_sizes(blocks, generator(seed)) for seed in range(50)}) > 5
    assert not torch.equal(whole.targets[0], whole.targets[1])


# The quirks


def test_official_sampler_has_the_published_statistics() -> None:
    """4,000 draws on 16 x 16: no last row or column, contexts of 47 to 165 patches, 110 on average."""
    blocks, counts, touched = MultiBlock(16, "official"), [], torch.zeros(256, dtype=torch.bool)
    for seed in range(1000):
        masks = sample(blocks, 1, generator(seed))
        counts.append(masks.context.shape[1])
        touched[masks.context.flatten()] = touched[masks.targets.flatten()] = True
    assert sum(counts) / len(counts) == pytest.approx(110, abs=2)
    assert min(counts) < 65
    assert max(counts) > 155
    assert 40 <= min(counts) <= max(counts) <= 175
    grid = touched.reshape(16, 16)
    assert not grid[15].any()
    assert not grid[:, 15].any()
    assert grid[:15, :15].all()


def test_fixed_sampler_places_targets_evenly() -> None:
    blocks = MultiBlock(16)
    for seed in range(3):
        masks = sample(blocks, 10_000, generator(seed))
        (height, width), _ = block_sizes(blocks, generator(seed))
        corners = torch.bincount(masks.targets[:, :, 0].flatten(), minlength=256).reshape(16, 16)
        places = (17 - height) * (17 - width)
        expected = 40_000 / places
        assert (corners[: 17 - height, : 17 - width] - expected).abs().max() < 5 * math.sqrt(expected)
        assert corners.sum() == corners[: 17 - height, : 17 - width].sum()


def test_only_the_official_context_is_cut_from_below() -> None:
    def halves(rule: Rule) -> tuple[float, float]:
        upper = lower = 0.0
        for seed in range(30):
            seen = as_grids(sample(MultiBlock(16, rule), 64, generator(seed)).context, 16)
            grid = seen.float().mean(dim=0).reshape(16, 16)
            last = MultiBlock(16, rule).longest
            upper, lower = upper + float(grid[:7].sum()), lower + float(grid[last - 7 : last].sum())
        return upper, lower

    upper, lower = halves("fixed")
    assert lower == pytest.approx(upper, rel=0.06)
    upper, lower = halves("official")
    assert lower < 0.8 * upper


def test_one_random_number_drives_scale_and_aspect_in_the_official_rule_only() -> None:
    sizes = {rule: {block_sizes(MultiBlock(16, rule), generator(seed))[0] for seed in range(400)} for rule in RULES}
    # u from 0 to 1: areas 38 to 51 with aspects .75 to 1.5 together, so wide blocks are small and tall ones large.
    exact = set()
    for k in range(2000):
        area, aspect = int(256 * (0.15 + 0.05 * k / 2000)), 0.75 + 0.75 * k / 2000
        exact.add((round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))))
    assert sizes["official"] <= exact
    assert len(sizes["official"]) >= 0.7 * len(exact)
    assert (7, 5) in sizes["fixed"] - exact  # tall and small
    assert (6, 8) in sizes["fixed"] - exact  # wide and large


def test_context_blocks_reach_the_whole_grid_in_the_fixed_rule_only() -> None:
    heights = {rule: {block_sizes(MultiBlock(16, rule), generator(s))[1] for s in range(60)} for rule in RULES}
    assert heights == {"fixed": {(15, 15), (16, 16)}, "official": {(15, 15)}}


@pytest.mark.parametrize("rule", RULES)
def test_a_part_is_cut_to_its_own_shortest_context_and_is_otherwise_the_batchs(rule: Rule) -> None:
    blocks = MultiBlock(16, rule)
    lengths = set()
    for seed in range(6):
        whole = sample(blocks, 24, generator(seed))
        parts = [sample(blocks, 24, generator(seed), slice(k, k + 12)) for k in (0, 12)]
        assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
        assert [part.relaxed for part in parts] == [whole.relaxed] * 2
        assert min(part.context.shape[1] for part in parts) == whole.context.shape[1]
        for part, rows in zip(parts, whole.context.split(12), strict=True):
            assert bool((as_grids(rows, 16) <= as_grids(part.context, 16)).all())  # patches more, none others
        lengths.add(tuple(part.context.shape[1] for part in parts))
    assert any(first != second for first, second in lengths)


def test_picture_shows_image_context_and_targets() -> None:
    images, blocks = torch.full((3, 32, 32), 0.8), MultiBlock(8)
    masks = sample(blocks, 3, generator())
    picture = masks_on_images(images, masks, 8)
    assert picture.shape == (3, 96, 96)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
    image, seen, wanted = picture.reshape(3, 3, 8, 4, 3, 8, 4).permute(1, 4, 2, 5, 0, 3, 6).flatten(4).flatten(2, 3)
    assert (image == 0.8).all()  # [images, patches, channels and pixels] each
    assert torch.equal((seen == 0.8).all(dim=2), as_grids(masks.context, 8))
    assert torch.equal((wanted > 0.4).any(dim=2), as_grids(masks.targets, 8).any(dim=1))  # elsewhere 0.12 · 0.8
