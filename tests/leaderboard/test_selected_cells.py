import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.files.seal import DamagedError


@pytest.fixture
def results(made_up, tmp_path):
    """A results folder of two encoders on two datasets."""
    for dataset in ("vindr", "nih"):
        for encoder, strength in (("a", 1.5), ("b", 0.5)):
            made_up(encoder, dataset, strength).save(
                tmp_path / "cells" / dataset / "classification" / encoder / "fraction-1-seed-0.parquet"
            )
    return tmp_path


def test_of_other_tasks_only_the_header_is_read(results):
    cells = Results(results).load_predictions(tasks=["nih:classification"])
    everything = Results(results).load_predictions()
    assert [one.cell for one in cells] == [one.cell for one in everything]
    assert [len(one.rows) for one in cells] == [169, 169, 0, 0]
    assert cells[0].rows.equals(everything[0].rows)


def test_a_comparison_of_one_task_says_the_same_and_does_not_mind_the_rows_of_another(results):
    words = {"results": results, "tasks": "nih", "replicates": 200}
    before = api.compare("a", "b", **words).text(), api.calibration(**words).text()
    for path in (results / "cells" / "vindr").rglob("*.parquet"):
        content = bytearray(path.read_bytes())
        content[100:400] = bytes(300)
        path.write_bytes(content)
    assert (api.compare("a", "b", **words).text(), api.calibration(**words).text()) == before
    with pytest.raises(DamagedError):
        api.compare("a", "b", results=results, replicates=200)
