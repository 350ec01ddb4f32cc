"""What a run would cost: hours, disk and memory per encoder and data set, and how long it takes on several workers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan, nan

from cxrbench.data.manifest import Manifest
from cxrbench.engine.plan import EncoderRef
from cxrbench.schedule.cost_plan import CostPlan, CostRow, Speed
from cxrbench.schedule.graph import CellUnit, Graph, Needs, Part
from cxrbench.schedule.makespan import Timed, longest_chain, lower_bound, makespan
from cxrbench.schedule.measured import Measurements, Place, passes_of, place_of, wants_maps

HOUR = 3600.0
PROCESS = 700 * 10**6  # bytes of a process with torch and its libraries, where no probe has measured it
COPIES = 3  # of a data set's pooled features in memory: as they are read, and standardized in double precision


@dataclass(frozen=True)
class _Unit:
    """A unit of the graph, or the dense maps of a place, which the first of its cells makes."""

    place: Place
    needs: Needs
    seconds: float
    after: tuple[int, ...]
    images: int = 0


def to_extract(graph: Graph, made: set[Part]) -> list[Place]:
    """The places whose encoder is still to run: for features, pooled or as maps, or in training."""
    places: dict[Place, None] = {}
    for unit in graph.cells:
        places |= {(part.encoder, part.dataset): None for part in unit.after if part not in made}
        if (wants_maps(unit) and not _ref(unit).stored) or passes_of(unit):
            places[place_of(unit)] = None
    return list(places)


def cost_of(graph: Graph, made: set[Part], measured: Measurements, workers: int, *, gpu: bool) -> CostPlan:
    """Add up what is left to do. ``made``: parts that are in the cache; ``gpu``: whether networks run on one."""
    units = list(_units(graph, made, measured))
    timed = [Timed(0.0 if isnan(unit.seconds) else unit.seconds, unit.after) for unit in units]
    on_gpu = sum(one.seconds for unit, one in zip(units, timed, strict=True) if gpu and unit.needs == "gpu")
    return CostPlan(
        tuple(_rows(graph, units, measured)),
        workers,
        on_gpu / HOUR,
        (sum(one.seconds for one in timed) - on_gpu) / HOUR,
        makespan(timed, workers) / HOUR,
        lower_bound(timed, workers) / HOUR,
        longest_chain(timed) / HOUR,
        tuple(_remarks(graph, units, measured)),
    )


def _units(graph: Graph, made: set[Part], measured: Measurements) -> Iterator[_Unit]:
    """In the order of the plan, what comes first first; ``after`` counts in that order."""
    number: dict[Part | Place, int] = {}
    count = 0
    for unit in graph.cells:
        place = place_of(unit)
        before: list[int] = []
        for part in unit.after:
            if part in made:
                continue
            if part not in number:
                there, images = (part.encoder, part.dataset), part.end - part.first
                yield _Unit(there, "gpu", measured.speeds[there].seconds(images), (), images)
                number[part], count = count, count + 1
            before.append(number[part])
        if wants_maps(unit) and not _ref(unit).stored:
            if place not in number:
                images = len(_manifest(unit))
                yield _Unit(place, "gpu", measured.speeds[place].seconds(images), (), images)
                number[place], count = count, count + 1
            before.append(number[place])
        yield _Unit(place, unit.needs, measured.seconds(unit), tuple(before))
        count += 1


def _rows(graph: Graph, units: Sequence[_Unit], measured: Measurements) -> Iterator[CostRow]:
    parties: dict[Place, tuple[EncoderRef, Manifest]] = {}
    dense: set[Place] = set()
    for unit in graph.cells:
        for manifest in (_manifest(unit), *(part.manifest for part in unit.after)):
            parties[unit.cell.encoder, manifest.name] = _ref(unit), manifest
        if wants_maps(unit):
            dense.add(place_of(unit))
    of_place: dict[Place, list[_Unit]] = defaultdict(list)
    for one in units:
        of_place[one.place].append(one)
    for place, (ref, manifest) in parties.items():
        mine = of_place[place]
        probed = measured.probes.get(place[0])
        width = nan if ref.fixed is None else ref.fixed.pooled.shape[1]
        pooled = 0.0 if ref.stored else 4.0 * width * len(manifest)
        process = probed.memory if probed else PROCESS + 4 * ref.spec.parameters
        yield CostRow(
            *place,
            images=sum(unit.images for unit in mine),
            speed=measured.speeds.get(place, Speed(nan, "unknown")),
            cells=sum(not unit.images for unit in mine),
            extraction_hours=sum(unit.seconds for unit in mine if unit.images) / HOUR,
            cell_hours=sum(unit.seconds for unit in mine if not unit.images) / HOUR,
            pooled_bytes=pooled,
            dense_bytes=(probed.map_bytes * len(manifest) if probed else nan) if place in dense else 0.0,
            memory_bytes=process + COPIES * pooled,
            gpu_bytes=probed.gpu_memory if probed else nan,
        )


def _remarks(graph: Graph, units: Sequence[_Unit], measured: Measurements) -> Iterator[str]:
    unknown: dict[tuple[str, bool], int] = {}
    for unit in graph.cells:
        if isnan(measured.times.seconds(unit.cell)):
            kind = unit.cell.protocol, isnan(measured.seconds(unit))
            unknown[kind] = unknown.get(kind, 0) + 1
    for (protocol, nothing), count in unknown.items():
        counts = "0 h" if nothing else "the passes of their encoder over the images that they train on, and no more"
        there = "none is finished in this store; run one and ask again"
        yield f"cells of {protocol}, {count:,} of them, count as {counts}: {there}"
    reasons = {unit.place: measured.speeds[unit.place].reason for unit in units if unit.images and isnan(unit.seconds)}
    for (encoder, dataset), reason in reasons.items():
        yield f"extracting {encoder} on {dataset} counts as 0 h: {reason}"


def _ref(unit: CellUnit) -> EncoderRef:
    assert unit.planned.encoder is not None  # only blocked cells lack them
    return unit.planned.encoder


def _manifest(unit: CellUnit) -> Manifest:
    assert unit.planned.manifest is not None
    return unit.planned.manifest
