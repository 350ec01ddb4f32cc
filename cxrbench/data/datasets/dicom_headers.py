"""What the readers of challenges' DICOM files need of a header, for there is no table that has it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cxrbench.data.datasets.layout import File
from cxrbench.data.decode.dicom import read_header

THREADS = 8  # headers may come over a network file system, where waiting is most of the work


class Header(NamedTuple):
    """PatientID ("" where there is none), view (PA, AP, or "" where another or none is said), and size in pixels."""

    patient: str
    view: str
    height: int
    width: int


def headers(root: Path, files: Sequence[File]) -> list[Header]:
    """The header of each file below ``root``, in their order. Raises UserError for a file that is no DICOM."""

    def one(file: File) -> Header:
        data = read_header(root / file.path)
        view = str(data.get("ViewPosition") or "")
        patient = str(data.get("PatientID") or "").strip()
        return Header(patient, view if view in ("PA", "AP") else "", int(data.Rows), int(data.Columns))

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, files))
