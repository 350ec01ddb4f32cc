"""What a JEPA shows to its context encoder and which blocks it must predict (I-JEPA, Assran et al. 2023, §3)."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cxrbench.errors import UserError

TRIES = 20  # places of the context block that are tried before a target is let into it
COLOURS = ((0.9, 0.2, 0.2), (0.2, 0.8, 0.2), (0.25, 0.45, 1.0), (0.95, 0.8, 0.1))  # of targets in pictures
DIM = 0.12  # brightness of what a picture shows as hidden
PUBLISHED_GRID = 256  # patches of the grid that ``min_keep`` is published for

Size = tuple[int, int]
Rule = Literal["fixed", "official"]


@dataclass(frozen=True)
class MultiBlock:
    """A sampler of block masks on a grid of ``side`` x ``side`` patches.

    Scales are shares of the grid's area, aspects are height / width. ``min_keep``: the context keeps more patches than
    this; None: 10 of 256 as published, on other grids the same share, rounded down (2 of 8 x 8, 3 of 9 x 9).

    ``official`` follows I-JEPA's code where it differs from what is meant: one random number drives scale and aspect;
    blocks are shorter than the grid and never touch its last row and column (both ends of its ``randint`` are
    exclusive); contexts are cut to equal length from their end, so that the lower rows are seen less. ``fixed`` draws
    the two numbers apart, reaches every patch evenly, and drops context patches at random.
    """

    side: int
    rule: Rule = "fixed"
    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    min_keep: int | None = None

    def __post_init__(self) -> None:
        if self.side < 4:
            raise UserError(f"block masks need a grid of at least 4 x 4 patches, not {self.side} x {self.side}")
        # Then the loop of ``sample`` ends: with no target left to keep out, every context block is large enough.
        if math.prod(self.block(self.context_scale[0], 1.0)) <= self.kept:
            raise UserError(f"no context block of {self.side} x {self.side} patches has more than {self.kept}")

    @property
    def kept(self) -> int:
        """The context has more patches than this."""
        return 10 * self.side**2 // PUBLISHED_GRID if self.min_keep is None else self.min_keep

    @property
    def longest(self) -> int:
        """Side of the largest block."""
        return self.side - (self.rule == "official")

    def block(self, scale: float, aspect: float) -> Size:
        """Height and width in patches of a block with this share of the grid's area, at least 1 x 1."""
        area = int(self.side**2 * scale)
        height, width = (round(math.sqrt(a)) for a in (area * aspect, area / aspect))
        return min(max(height, 1), self.longest), min(max(width, 1), self.longest)


class BlockMasks(NamedTuple):
    """Patch numbers in raster order, on the generator's device, and how often they are not what they should be.

    ``context``: int64 [B, n], ascending; ``targets``: int64 [B, targets, h · w], each a whole rectangle. ``relaxed``:
    targets of the batch that were let into the context, summed over images; where it is 0, no target patch is in a
    context.
    """

    context: Tensor
    targets: Tensor
    relaxed: int

    def rows(self, part: slice) -> "BlockMasks":
        """The masks of some images; ``relaxed`` stays the whole batch's."""
        return BlockMasks(self.context[part], self.targets[part], self.relaxed)


def block_sizes(blocks: MultiBlock, generator: torch.Generator) -> tuple[Size, Size]:
    """One size of target and one of context blocks for a whole batch: the generator's next numbers."""
    scale, aspect, context = torch.rand(3, generator=generator, device=generator.device).tolist()
    aspect = scale if blocks.rule == "official" else aspect
    target = blocks.block(between(blocks.target_scale, scale), between(blocks.target_aspect, aspect))
    return target, blocks.block(between(blocks.context_scale, context), 1.0)


def between(ends: tuple[float, float], share: float) -> float:
    """The number that lies ``share`` of the way from the first end to the second."""
    return ends[0] + share * (ends[1] - ends[0])


def sample(blocks: MultiBlock, images: int, generator: torch.Generator, part: slice = slice(None)) -> BlockMasks:
    """Block masks of a batch of ``images``, from ``generator`` alone: processes that seed it alike draw the same.

    Per image: target blocks anywhere, overlapping as they fall; then a context block without the targets' patches.
    Where that leaves too few, it is placed again; after every 20 failures one target more is let into it. All contexts
    are cut to the shortest one's length, so that they form one tensor. ``part``: the images whose masks come back; the
    shortest is that of theirs alone (a process's share, in I-JEPA).
    """
    target, context = block_sizes(blocks, generator)
    inside = place(blocks, target, (images, blocks.targets), generator)
    forbidden = as_grids(inside, blocks.side)
    seen = torch.zeros(images, blocks.side**2, dtype=torch.bool, device=generator.device)
    waiting = torch.arange(images, device=generator.device)
    relaxed = 0
    for attempt in range(TRIES * blocks.targets + 1):
        block = as_grids(place(blocks, context, (len(waiting),), generator), blocks.side)
        kept_out = blocks.targets - attempt // TRIES
        seen[waiting] = block & ~forbidden[waiting, :kept_out].any(dim=1)
        if attempt and attempt % TRIES == 0:
            relaxed += len(waiting)
        waiting = waiting[seen[waiting].sum(dim=1) <= blocks.kept]
        if not len(waiting):
            break
    order = keeping_order(seen, blocks.rule, generator)
    return BlockMasks(shortened(seen[part], order[part]), inside[part], relaxed)


def place(blocks: MultiBlock, size: Size, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Put blocks of a size anywhere on the grid: int64 [*shape, height · width], their patches in raster order."""
    device = generator.device
    top, left = (torch.randint(blocks.longest - n + 1, shape, generator=generator, device=device) for n in size)
    y, x = (torch.arange(n, device=device) for n in size)
    block = (y[:, None] * blocks.side + x).flatten()
    return (top * blocks.side + left)[..., None] + block


def as_grids(patches: Tensor, side: int) -> Tensor:
    """Patch numbers [..., n] to bool [..., side²], true at them."""
    grid = torch.zeros(*patches.shape[:-1], side**2, dtype=torch.bool, device=patches.device)
    return grid.scatter_(-1, patches, True)


def keeping_order(seen: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    """Which patches of bool [B, N] are kept, least number [B, N] first: any, or by the official rule the upper."""
    order = torch.rand(seen.shape, generator=generator, device=seen.device)
    if rule == "official":
        order = torch.arange(seen.shape[1], dtype=order.dtype, device=seen.device).expand_as(seen)
    return order


def shortened(seen: Tensor, order: Tensor) -> Tensor:
    """Of each row of bool [B, N] as many patches as the row with the fewest has, those of least ``order`` [B, N].

    int64 [B, n], ascending.
    """
    fewest = int(seen.sum(dim=1).min())
    return order.masked_fill(~seen, math.inf).argsort(dim=1)[:, :fewest].sort(dim=1).values


def masks_on_images(images: Tensor, masks: BlockMasks, side: int) -> Tensor:
    """Images [B, S, S] in [0, 1] to three rows of them: [3, 3 · S, B · S].

    The image; the patches of its context, the rest nearly black; its targets, each block tinted in a colour of its own,
    mixed where they overlap.
    """
    patch = images.shape[-1] // side
    seen, wanted = (
        grid.float().unflatten(-1, (side, side)).repeat_interleave(patch, -2).repeat_interleave(patch, -1)
        for grid in (as_grids(masks.context, side), as_grids(masks.targets, side))
    )
    colours = torch.tensor([COLOURS[k % len(COLOURS)] for k in range(wanted.shape[1])], device=images.device)
    tint = torch.einsum("bkyx,kc->bcyx", wanted, colours) / wanted.sum(dim=1, keepdim=True).clamp(min=1)
    gray = images[:, None].expand(-1, 3, -1, -1)
    covered = wanted.amax(dim=1, keepdim=True)
    rows = (gray, gray * (DIM + (1 - DIM) * seen[:, None]), gray * DIM * (1 - covered) + (gray + tint) / 2 * covered)
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
