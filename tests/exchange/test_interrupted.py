"""Whoever is interrupted, or meets a full disk, loses nothing and says the same again; and one at a time."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrbench import api
from cxrbench.engine.results import Results
from cxrbench.errors import DiskError, UserError
from cxrbench.exchange.changing import changing
from cxrbench.files.records import write_record
from support.two_people import Hospital, flip


class PowerCutError(BaseException):
    """Nothing catches it."""


def ends_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Before the ``step``-th file that is renamed into its place or removed, the process ends."""
    count = 0

    def counted(before: Callable[..., object]) -> Callable[..., object]:
        def then(path: Path, *words: object, **options: object) -> object:
            nonlocal count
            count += not str(path).endswith(".tmp") or before is replace
            if count >= step:
                raise PowerCutError
            return before(path, *words, **options)

        return then

    replace = os.replace
    patch.setattr(os, "replace", counted(replace))
    patch.setattr(Path, "unlink", counted(Path.unlink))


def state(root: Path) -> list[object]:
    """Names of files, and identities of cells with what is known of their data."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.suffix in (".parquet", ".json"))
    cells = [
        (one.cell["encoder"], one.cell["dataset"], one.cell["identity"]) for one in Results(root).load_predictions()
    ]
    return [*names, *sorted(cells), *(str(one.get("renamed")) for one in api.requests(root))]


@pytest.mark.parametrize(
    ("old", "new", "steps"), [("pixels", "dots", (2, 5, 8, 11, 14)), ("clinic", "ward", (2, 3, 4, 9, 22))]
)
def test_a_renaming_that_was_ended_goes_on_where_it_is_said_again(
    hospital: Hospital, tmp_path: Path, old: str, new: str, steps: tuple[int, ...]
) -> None:
    """Between any two files, and the cells have the identities of one that was not interrupted."""
    shutil.copytree(hospital.results, tmp_path / "whole")
    api.rename_in_results(tmp_path / "whole", old, new)
    for step in steps:
        root = tmp_path / f"{step}"
        shutil.copytree(hospital.results, root)
        with pytest.MonkeyPatch.context() as patch:
            ends_at(step, patch)
            with pytest.raises(PowerCutError):
                api.rename_in_results(root, old, new)
        shutil.rmtree(root / "leases")  # as if the process were dead
        assert [one.path.name for one in api.verify(root) if one.kind == "renamings"] == ["renaming.json"]
        assert not api.check_results(root).foreign
        with pytest.raises(
            UserError, match=f"half renamed, from {old} to {new}.*cxrbench results rename {old} {new} --"
        ):
            api.rename_in_results(root, hospital.mine, "other")
        api.rename_in_results(root, old, new)
        assert state(root) == state(tmp_path / "whole"), step


def test_a_renaming_reads_everything_before_it_writes(hospital: Hospital) -> None:
    root = hospital.results
    flip(next((root / "encoders").glob("pixels-*.json")))
    before = state(root)
    with pytest.raises(UserError, match="is damaged"):
        api.rename_in_results(root, "pixels", "dots")
    assert state(root) == before


def test_one_at_a_time_changes_a_folder(hospital: Hospital, tmp_path: Path) -> None:
    with changing(hospital.results, "merging into it"):
        with pytest.raises(UserError, match="is merging into it: try again"):
            api.rename_in_results(hospital.results, "pixels", "dots")
        shutil.copytree(hospital.results, tmp_path / "other")
        with pytest.raises(UserError, match="is merging into it: try again"):
            api.merge_results([tmp_path / "other"], hospital.results)
    assert api.rename_in_results(hospital.results, "pixels", "dots").files["cells"]


def test_on_a_full_disk_what_was_there_stays(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where predictions of another kind would take its place."""
    cell = Path("cells/clinic/classification/pixels/fraction-0.5-seed-0.parquet")
    shutil.copytree(hospital.results, tmp_path / "new")
    facts = Results(hospital.results).load_predictions()[0].cell
    (tmp_path / "new" / cell).unlink()
    record = {"cell": facts, "reason": "no text tower", "synthetic": False, "date": "2099-01-01"}
    write_record((tmp_path / "new" / cell).with_suffix(".json"), record)

    def full(source: object, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskError, match="free some space"):
        api.merge_results([tmp_path / "new"], hospital.results, prefer="newest")
    assert (hospital.results / cell).is_file()


def test_a_full_disk_for_temporary_files_and_for_the_salt_is_one_line_and_leaves_nothing(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file object raises names no file."""
    pack, salt = tmp_path / "a.cxrpack", tmp_path / "salt"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match="free some space"):
            api.pack_results(hospital.results, pack, salt=salt)
    assert not salt.exists()
    api.pack_results(hospital.results, pack, salt=salt)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskError, match="free some space"):
        api.check_results(pack)


def test_a_store_is_not_merged_into_a_folder_of_its_own(hospital: Hospital) -> None:
    with pytest.raises(UserError, match=r"lies in .*choose another place"):
        api.merge_results([hospital.results], hospital.results / "together")
    assert not (hospital.results / "together").exists()
