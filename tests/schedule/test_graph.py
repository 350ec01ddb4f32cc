"""A plan as units: what there is to do, what comes first, and what needs a GPU."""

from dataclasses import replace
from pathlib import Path

import pytest

from cxrbench import api
from cxrbench.engine.job import Job
from cxrbench.schedule.graph import Graph, graph_of
from support.shared_work import asked

pytestmark = pytest.mark.usefixtures("folders")


def graph(job: Job, part_rows: int) -> Graph:
    return graph_of(replace(job, batch_size=16), part_rows=part_rows)


@pytest.fixture
def job(encoder: str, dataset: Path) -> Job:
    tasks = [f"{dataset}:{name}" for name in ("classification", "linear", "finetune")]
    return api.prepare(**asked(encoder, dataset, "results") | {"tasks": tasks})  # type: ignore[arg-type]


def test_every_cell_that_is_not_done_is_a_unit_once(job: Job) -> None:
    units = list(graph(job, 4096).cells)
    assert [unit.planned for unit in units] == list(job.plan.cells)
    assert len(graph(job, 4096).groups) == 2


@pytest.mark.parametrize("part_rows", [16, 50, 4096])
def test_the_parts_of_an_entry_are_all_rows_cut_between_batches(job: Job, part_rows: int) -> None:
    found = graph(job, part_rows)
    assert len(set(found.parts)) == len(list(found.parts))
    for key in {part.key for part in found.parts}:
        parts = [part for part in found.parts if part.key == key]
        assert [row for part in parts for row in part.rows] == list(range(120))
        assert all(part.first % 16 == 0 for part in parts)
        assert (len(parts) == 1) == (part_rows == 4096)


def test_cells_come_after_the_parts_that_they_ask_for_and_need_a_gpu_if_networks_run_in_them(job: Job) -> None:
    found = graph(job, 50)
    for unit in found.cells:
        assert unit.needs == ("cpu" if unit.cell.protocol == "classification" else "gpu")
        assert bool(unit.after) == (unit.cell.protocol != "finetune")
        assert {part.encoder for part in unit.after} <= {unit.cell.encoder}


def test_where_bad_images_are_skipped_every_cell_comes_after_an_extraction(job: Job) -> None:
    assert all(unit.after for unit in graph_of(replace(job, request=replace(job.request, skip_bad=True))).cells)
