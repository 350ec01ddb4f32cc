"""A plan as a graph of units: parts of an encoder's features on a dataset, then the cells that are made of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from cxrbench.data.manifest import Manifest
from cxrbench.engine.execute import TODO, together
from cxrbench.engine.job import Job
from cxrbench.engine.plan import EncoderRef, PlannedCell
from cxrbench.features.parts.places import parts_of
from cxrbench.features.pooled import feature_key
from cxrbench.task import Cell

Needs = Literal["gpu", "cpu"]
"""What a unit is best done on: ``gpu`` if networks run in it. Where there is none, a CPU does it."""
PART_ROWS = 4096
"""Images of a part, about; a dataset of fewer than half as many more is one part. A ViT-B/16 takes half a minute for
them on a GPU, an hour on two CPU cores; to begin costs a worker seconds.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """The pooled features of rows ``first .. end`` of a dataset by one encoder; ``key``: of the cache entry.

    All parts of an entry follow each other, and are joined by whoever finds the last of them made.
    """

    encoder: str
    dataset: str
    key: str
    first: int
    end: int
    ref: EncoderRef = field(repr=False, compare=False)
    manifest: Manifest = field(repr=False, compare=False)

    @property
    def rows(self) -> range:
        """Which rows."""
        return range(self.first, self.end)

    @property
    def needs(self) -> Needs:
        """A network runs over images."""
        return "gpu"


@dataclass(frozen=True, slots=True)
class CellUnit:
    """A cell that is to be computed, once the parts ``after`` which it comes are there."""

    planned: PlannedCell
    after: tuple[Part, ...]
    needs: Needs

    @property
    def cell(self) -> Cell:
        """Which one."""
        return self.planned.cell


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share an encoder's features (``execute.together``), in the order of the plan."""

    cells: tuple[CellUnit, ...]


@dataclass(frozen=True)
class Graph:
    """What a plan leaves to do: its missing, stale and damaged cells, by what they share."""

    groups: tuple[Group, ...]

    @property
    def cells(self) -> Iterator[CellUnit]:
        """All cells, group by group."""
        return (unit for group in self.groups for unit in group.cells)

    @property
    def parts(self) -> Iterator[Part]:
        """All parts, each once, in the order in which cells first need them."""
        seen: set[str] = set()
        for after in {id(unit.after): unit.after for unit in self.cells}.values():
            fresh = [part for part in after if part.key not in seen]
            seen |= {part.key for part in fresh}
            yield from fresh


def graph_of(job: Job, cells: Iterable[PlannedCell] | None = None, *, part_rows: int = PART_ROWS) -> Graph:
    """The units of a job's plan, or of some ``cells`` of it, whatever the cache holds.

    Where unreadable images are skipped every cell extracts pooled features. A part has about ``part_rows`` images, a
    multiple of the batch size.
    """
    precision, pooled_first = job.request.precision, job.request.skip_bad
    known: dict[tuple[int, ...], tuple[Part, ...]] = {}

    def parts(ref: EncoderRef, manifests: Sequence[Manifest]) -> tuple[Part, ...]:
        which = (id(ref), *map(id, manifests))
        if which not in known:
            known[which] = tuple(
                Part(ref.spec.name, manifest.name, key, rows.start, rows.stop, ref, manifest)
                for manifest in manifests
                for key in [feature_key(ref.spec, manifest, precision)]
                for rows in parts_of(len(manifest), job.batch_size, part_rows)
            )
        return known[which]

    def unit(planned: PlannedCell) -> CellUnit:
        ref, manifest, task = planned.encoder, planned.manifest, planned.task
        assert ref is not None  # only blocked cells lack them
        assert manifest is not None
        assert task is not None
        asks = task.asks
        wanted = not ref.stored and (pooled_first or (asks is not None and "pooled" in asks))
        after = parts(ref, planned.joined.sets if planned.joined else (manifest,)) if wanted else ()
        return CellUnit(planned, after, "cpu" if asks == {"pooled"} else "gpu")

    asked = job.plan.cells if cells is None else cells
    todo = [planned for planned in asked if planned.state in TODO]
    groups = (Group(tuple(map(unit, cells))) for _, cells in groupby(todo, key=together))
    return Graph(tuple(groups))
