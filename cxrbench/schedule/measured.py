"""What is known, or measured now, of the encoders and cells of a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Preprocess
from cxrbench.engine.execute import one_line
from cxrbench.engine.headers.header import PREDICTIONS
from cxrbench.engine.job import Job
from cxrbench.engine.plan import EncoderRef
from cxrbench.engine.results import Results
from cxrbench.errors import THEIRS, UserError
from cxrbench.files.seal import DamagedError
from cxrbench.passes import images_in_training
from cxrbench.progress import Progress
from cxrbench.schedule.cost_plan import Speed
from cxrbench.schedule.estimates import CellTimes, EarlierCell, speed_by_gflops, speed_in_store
from cxrbench.schedule.graph import CellUnit, Graph

if TYPE_CHECKING:
    from cxrbench.schedule.probe import Probed

Place = tuple[str, str]
"""An encoder and a data set, by name."""


@dataclass(frozen=True)
class Measurements:
    """``speeds``: of extraction; ``probes``: of encoders that were measured now; ``times``: of cells."""

    speeds: Mapping[Place, Speed]
    probes: Mapping[str, "Probed"] = field(default_factory=dict)
    times: CellTimes = field(default_factory=lambda: CellTimes({}, {}))

    def seconds(self, unit: CellUnit) -> float:
        """Of a cell without extraction: what one of its encoder and task took; else what others took, and no less than
        the encoder takes for the images that it meets in training. NaN where neither is known.
        """
        known = self.times.seconds(unit.cell)
        images = 0 if self.times.has(unit.cell) else passes_of(unit)
        passes = self.speeds.get(place_of(unit), Speed(nan, "unknown")).seconds(images)
        return max((one for one in (known, passes if images else nan) if not isnan(one)), default=nan)


def place_of(unit: CellUnit) -> Place:
    """Where a cell's encoder runs."""
    assert unit.planned.manifest is not None  # only blocked cells lack it
    return unit.cell.encoder, unit.planned.manifest.name


def passes_of(unit: CellUnit) -> int:
    """Over how many images a cell runs its encoder as it trains; none where features are stored."""
    task, manifest, ref = unit.planned.task, unit.planned.manifest, unit.planned.encoder
    if task is None or manifest is None or ref is None or ref.stored:
        return 0
    return images_in_training(task, manifest, unit.cell)


def wants_maps(unit: CellUnit) -> bool:
    """Whether a cell's protocol says that it asks for dense maps."""
    return unit.planned.task is not None and "maps" in (unit.planned.task.asks or ())


def measure(job: Job, graph: Graph, wanted: Iterable[Place], progress: Progress) -> Measurements:
    """What is known of the ``wanted`` places (their images are to be extracted), and of cells. Saves nothing.

    An encoder of which the store knows no speed on such a device is measured on a few images of the first of its data
    sets; the images of the others are timed without it. One that cannot be measured is compared by GFLOPs.
    """
    refs, manifests = _parties(graph)
    with_maps = {unit.cell.encoder for unit in graph.cells if wants_maps(unit)}
    of_encoder: dict[str, list[str]] = defaultdict(list)
    for encoder, dataset in dict.fromkeys(wanted):
        of_encoder[encoder].append(dataset)
    facts = {encoder: _facts(job.request.results, refs[encoder]) for encoder in of_encoder}
    speeds: dict[Place, Speed] = {}
    probes: dict[str, Probed] = {}
    decoded: dict[tuple[str, Preprocess], float] = {}
    for number, (encoder, datasets) in enumerate(of_encoder.items()):
        progress.train("encoders measured", number, len(of_encoder))
        known = speed_in_store(facts[encoder], job.device, job.request.precision)
        if known is not None and encoder not in with_maps:
            speeds |= {(encoder, dataset): known for dataset in datasets}
            continue
        try:
            probes[encoder] = _probed(refs[encoder], manifests[datasets[0]], job, maps=encoder in with_maps)
        except THEIRS as error:
            speeds |= {(encoder, dataset): known or Speed(nan, "unknown", one_line(error)) for dataset in datasets}
            continue
        for dataset in datasets:
            one = known or _on(probes[encoder], refs[encoder], manifests[dataset], datasets[0], job, decoded)
            speeds[encoder, dataset] = one
    by_gflops = _compared(speeds, facts)
    images = {name: len(manifest) for name, manifest in manifests.items()}
    first = {encoder: speed for (encoder, _), speed in reversed(by_gflops.items()) if speed.source != "unknown"}
    return Measurements(by_gflops, probes, CellTimes.of(earlier_cells(job), images, first))


def earlier_cells(job: Job) -> Iterator[EarlierCell]:
    """Finished cells of the store, whatever they were asked for."""
    headers = job.request.results.headers(job.cache)
    for file in headers.files(PREDICTIONS):
        try:
            facts = headers.of_file(file).facts
            cell, made = facts["cell"], facts["made"]
            yield EarlierCell(
                cell["encoder"],
                cell["dataset"],
                cell["protocol"],
                cell["fraction"],
                float(made["seconds"]),
                made["date"],
            )
        except (UserError, OSError, KeyError, TypeError, ValueError):  # damaged, or of before this was kept
            continue


def _parties(graph: Graph) -> tuple[dict[str, EncoderRef], dict[str, Manifest]]:
    """Encoders and data sets of a graph, by name."""
    refs: dict[str, EncoderRef] = {}
    manifests: dict[str, Manifest] = {}
    for unit in graph.cells:
        planned = unit.planned
        assert planned.encoder is not None
        assert planned.manifest is not None
        refs[planned.cell.encoder] = planned.encoder
        manifests[planned.manifest.name] = planned.manifest
        for part in unit.after:
            manifests[part.dataset] = part.manifest
    return refs, manifests


def _facts(results: Results, ref: EncoderRef) -> dict[str, Any]:
    try:
        return results.encoder_facts(ref.spec.name, ref.spec.fingerprint)
    except DamagedError:
        return {}


def _probed(ref: EncoderRef, manifest: Manifest, job: Job, *, maps: bool) -> "Probed":
    from cxrbench.schedule.probe import probe

    return probe(ref.load, ref.preprocess, manifest.paths(), job.extraction(), maps=maps)


def _on(
    probed: "Probed",
    ref: EncoderRef,
    manifest: Manifest,
    measured_on: str,
    job: Job,
    decoded: dict[tuple[str, Preprocess], float],
) -> Speed:
    """The speed on a data set, from the probe on another one. ``decoded``: seconds of images, filled here."""
    from cxrbench.schedule.probe import decoding, elsewhere

    if manifest.name == measured_on:
        return Speed(probed.images_per_second, "probe")
    key = manifest.name, ref.preprocess
    try:
        if key not in decoded:
            decoded[key] = decoding(ref.preprocess, manifest.paths(), job.extraction())
    except THEIRS as error:
        return Speed(nan, "unknown", one_line(error))
    return Speed(elsewhere(probed, decoded[key], device=job.device), "probe")


def _compared(speeds: Mapping[Place, Speed], facts: Mapping[str, Mapping[str, Any]]) -> dict[Place, Speed]:
    """The speeds; those that are not known by GFLOPs, where these are."""
    gflops = {encoder: float(known.get("gflops_per_image") or nan) for encoder, known in facts.items()}
    others = [(gflops[e], speed.images_per_second) for (e, _), speed in speeds.items() if speed.source != "unknown"]
    found = dict(speeds)
    for (encoder, dataset), speed in speeds.items():
        if speed.source == "unknown" and (guess := speed_by_gflops(gflops[encoder], others)).source == "GFLOPs":
            found[encoder, dataset] = guess
    return found
