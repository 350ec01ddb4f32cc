import dataclasses
import os
import threading

import numpy as np
import pytest

from cxrbench.leaderboard.render import to_csv, to_json
from cxrbench.leaderboard.statistics import digests, evaluate, kept, paired
from cxrbench.leaderboard.statistics import measured as measured_at
from cxrbench.leaderboard.statistics.alignment import align, by_task
from cxrbench.leaderboard.statistics.digests import content, of_test_set
from cxrbench.leaderboard.statistics.kept import Evaluations
from cxrbench.leaderboard.statistics.measured import measured
from cxrbench.leaderboard.tables import build
from cxrbench.metrics.kinds import KINDS

ENCODERS = {"random": 3, "a": 3, "b": 2, "c": 1}


def cells(made_up, encoders=ENCODERS):
    return [
        made_up(e, dataset=d, seed=s, strength=1 + 0.2 * i, n=60)
        for d in ("vindr", "rsna")
        for i, (e, seeds) in enumerate(encoders.items())
        for s in range(seeds)
    ]


def drawn(predictions, folder=None, note=lambda message: None, **how):
    board = build(predictions, replicates=100, kept=Evaluations(folder, note), **how)
    return to_json(board), to_csv(board)


@pytest.fixture(autouse=True)
def keep_small_ones(monkeypatch):
    monkeypatch.setattr(measured_at, "LEAST", 0)


@pytest.fixture
def evaluated(monkeypatch):
    """How many cells were evaluated, call by call."""
    counts = []
    whole = evaluate.replicate_cells
    monkeypatch.setattr(
        evaluate, "replicate_cells", lambda cells, *rest: counts.append(len(cells)) or whole(cells, *rest)
    )
    return counts


def test_a_board_drawn_again_is_the_same_to_the_bit_and_evaluates_nothing(made_up, tmp_path, evaluated):
    predictions = cells(made_up)
    expected = drawn(predictions)
    assert drawn(predictions, tmp_path) == expected
    evaluated.clear()
    assert drawn(predictions, tmp_path) == expected
    assert evaluated == []


def test_of_small_test_sets_pairs_are_kept_in_place_of_replicates(made_up, tmp_path, evaluated, monkeypatch):
    more = cells(made_up, {**ENCODERS, "d": 2})
    predictions = [one for one in more if one.cell["encoder"] != "d"]
    expected, of_more = drawn(predictions), drawn(more)
    drawn(predictions, tmp_path / "whole")
    monkeypatch.setattr(measured_at, "LEAST", 60 * len(predictions[0].labels) + 1)
    assert drawn(predictions, tmp_path / "small") == expected
    whole, small = (sum(path.stat().st_size for path in (tmp_path / of).iterdir()) for of in ("whole", "small"))
    assert small < whole
    evaluated.clear()
    assert drawn(predictions, tmp_path / "small") == expected
    assert evaluated == []
    assert drawn(predictions[1:], tmp_path / "small") == drawn(predictions[1:])
    assert drawn(more, tmp_path / "small") == of_more  # all are drawn again, for the pairs of the new one
    assert evaluated[-2:] == [11, 11]


def test_of_a_small_test_set_only_new_pairs_are_drawn_for(made_up, tmp_path, evaluated, monkeypatch):
    more = cells(made_up, {**ENCODERS, "d": 2})
    monkeypatch.setattr(measured_at, "LEAST", 10**9)
    drawn([one for one in more if one.cell["encoder"] != "d"], tmp_path)
    compared, whole = [], paired.improvements
    monkeypatch.setattr(
        paired, "improvements", lambda *of: compared.extend(zip(of[0], of[1], strict=True)) or whole(*of)
    )
    drawn(more, tmp_path)
    tested = sum(one.tested for one in KINDS["multilabel"].measures.values())
    assert len(compared) == 2 * tested * 4  # two data sets, d with each of the four others


def test_what_is_new_is_written_beside_what_was_there_until_there_are_many_files(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 3)
    names, counts = ["random", "a", "b", "c", "d"], []
    for many in range(1, len(names) + 1):
        predictions = [made_up(e, strength=1 + 0.2 * i, n=60) for i, e in enumerate(names[:many])]
        assert drawn(predictions, tmp_path) == drawn(predictions)
        counts.append(len(list(tmp_path.iterdir())))
    assert counts == [1, 2, 3, 1, 2]
    everything = [made_up(e, strength=1 + 0.2 * i, n=60) for i, e in enumerate(names)]
    monkeypatch.setattr(evaluate, "replicate_cells", None)
    drawn(everything, tmp_path)


@pytest.mark.parametrize("least", [0, 10**9])
def test_an_encoder_without_scores_leaves_no_metric_to_test_and_what_was_kept_as_it_is(
    made_up, tmp_path, monkeypatch, least
):
    monkeypatch.setattr(measured_at, "LEAST", least)
    predictions = cells(made_up)
    blind = made_up("d", n=60)
    scores = {name: np.nan for name in blind.rows.columns if name.startswith("score:")}
    more = [*predictions, dataclasses.replace(blind, rows=blind.rows.assign(**scores))]
    for each in (predictions, more, predictions, more):
        assert drawn(each, tmp_path) == drawn(each)


def test_encoders_with_the_same_predictions_are_kept_too(made_up, tmp_path, evaluated):
    same = [dataclasses.replace(one, cell={**one.cell, "encoder": "b"}) for one in cells(made_up, {"a": 1})]
    predictions = [*cells(made_up, {"random": 1, "a": 1}), *same]
    expected = drawn(predictions)
    assert drawn(predictions, tmp_path) == expected
    evaluated.clear()
    before = sorted(tmp_path.iterdir())
    assert drawn(predictions, tmp_path) == expected
    assert (evaluated, sorted(tmp_path.iterdir())) == ([], before)


def test_groups_of_a_small_test_set_have_the_replicates_of_all_metrics(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(measured_at, "LEAST", 10**9)
    tests = align(*next(iter(by_task(cells(made_up)).items())))
    measures = [KINDS["multilabel"].measures[name] for name in ("auroc", "brier")]
    for first_only, expected in ((True, [100, 0]), (False, [100, 100])):
        for _ in range(2):
            found = measured(tests, measures, "random", 100, 0, Evaluations(tmp_path), first_only=first_only)
            assert [one.headlines["a"].replicates.shape[1] for one in found] == expected


def test_one_encoder_more_is_evaluated_with_the_baseline_and_no_other(made_up, tmp_path, evaluated):
    more = cells(made_up, {**ENCODERS, "d": 2})
    drawn([one for one in more if one.cell["encoder"] != "d"], tmp_path)
    evaluated.clear()
    found = drawn(more, tmp_path)
    assert evaluated == [5, 5]  # of each data set the three seeds of random and the two of d
    assert found == drawn(more)


@pytest.mark.parametrize("how", [{"baseline": "a"}, {"seed": 1}, {"metrics": ("auprc",)}])
def test_another_question_is_evaluated(made_up, tmp_path, evaluated, how):
    predictions = cells(made_up)
    drawn(predictions, tmp_path)
    evaluated.clear()
    assert drawn(predictions, tmp_path, **how) == drawn(predictions, **how)
    assert evaluated


def test_predictions_are_told_apart_by_their_last_bit(made_up, tmp_path, evaluated):
    predictions = cells(made_up)
    drawn(predictions, tmp_path)
    rows = predictions[3].rows.copy()
    column = "score:Effusion"
    rows.loc[rows.index[20], column] = np.nextafter(rows.loc[rows.index[20], column], 1)
    predictions[3] = dataclasses.replace(predictions[3], rows=rows)
    evaluated.clear()
    drawn(predictions, tmp_path)
    assert evaluated == [6]  # the three seeds of a, and of random


def test_other_code_evaluates_anew(made_up, tmp_path, evaluated, monkeypatch):
    predictions = cells(made_up)
    drawn(predictions, tmp_path)
    evaluated.clear()
    monkeypatch.setattr(digests, "_version", lambda: {"code": "another"})
    drawn(predictions, tmp_path)
    assert evaluated == [9, 9]


@pytest.mark.parametrize("keep", [0, 10, 0.5, "flip", "text"])
def test_a_damaged_file_is_told_once_and_made_anew(made_up, tmp_path, keep):
    predictions = cells(made_up)
    expected = drawn(predictions, tmp_path)
    (path, _) = sorted(tmp_path.glob("*.parquet"))
    data = path.read_bytes()
    if keep == "flip":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    elif keep == "text":
        path.write_text("not ours")
    else:
        path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    notes = []
    assert drawn(predictions, tmp_path, notes.append) == expected
    assert len(notes) == 1
    assert str(path) in notes[0]
    assert drawn(predictions, tmp_path, notes.append) == expected
    assert len(notes) == 1


def test_a_folder_that_cannot_be_written_is_told_and_harms_nothing(made_up, tmp_path):
    predictions = cells(made_up)
    (tmp_path / "file").write_text("in the way")
    notes = []
    assert drawn(predictions, tmp_path / "file", notes.append) == drawn(predictions)
    assert len(notes) == 1
    assert "not kept" in notes[0]


def test_a_cache_that_may_only_be_read_is_used(made_up, tmp_path, evaluated, monkeypatch):
    predictions, notes = cells(made_up), []
    expected = drawn(predictions, tmp_path)
    evaluated.clear()

    def forbidden(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kept.os, "utime", forbidden)
    assert drawn(predictions, tmp_path, notes.append) == expected
    assert (evaluated, notes) == ([], [])


def test_what_a_killed_process_left_behind_is_deleted_a_day_later(made_up, tmp_path):
    (old, new) = (tmp_path / f".{name}.parquet.0123456789abcdef.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    drawn(cells(made_up), tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_processes_at_once_do_not_harm_each_other(made_up, tmp_path):
    predictions = cells(made_up)
    expected, found = drawn(predictions), []
    threads = [threading.Thread(target=lambda: found.append(drawn(predictions, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 2
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_not_used_for_longest_makes_room(made_up, tmp_path, monkeypatch):
    drawn(cells(made_up), tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.setattr(kept, "MOST", size)
    before = {path.name for path in tmp_path.iterdir()}
    drawn(cells(made_up), tmp_path, metrics=("auroc",))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= size
    assert not before <= {path.name for path in tmp_path.iterdir()}


def test_content_is_that_of_every_column_that_cells_do_not_share(made_up):
    one = made_up("a")
    tests, rows = align(*next(iter(by_task([one]).items()))), one.rows
    lists = rows.assign(boxes=[np.arange(i % 3, dtype=float) for i in range(len(rows))])
    other = lists.assign(boxes=[np.arange(i % 3, dtype=float) + (i == 5) for i in range(len(rows))])
    further = [rows, rows.assign(fold=0), rows.assign(rle="x"), rows.assign(**{"target:Mass": 0.0}), lists, other]
    assert content(rows, tests) == content(rows.copy(), tests)
    assert len({content(each, tests) for each in further}) == len(further)
    assert content(rows.assign(patient_id="x"), tests) == content(rows, tests)


@pytest.mark.parametrize("column", ["image_id", "patient_id", "target:Effusion"])
def test_what_cells_share_is_in_the_name_of_their_test_set(made_up, column):
    one = made_up("a")
    rows = one.rows.copy()
    rows[column] = rows[column].to_numpy()[::-1]
    assert names(one) != names(dataclasses.replace(one, rows=rows))


def names(one):
    return of_test_set(align(*next(iter(by_task([one]).items()))), ["auroc"])
