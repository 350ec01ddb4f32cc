"""Files of embeddings: Parquet, npz and HDF5, read and written.

npz and HDF5 have the arrays ``images`` [n] (text), ``embeddings`` [n, D] and, if there are such, ``datasets`` [n],
``maps0`` .. ``maps3`` [n, C, side, side], ``texts`` [m] and ``text_embeddings`` [m, D]. Parquet has a row per image,
with the columns ``image``, ``embedding`` (a list) and perhaps ``dataset``; a row with a ``text`` in place of an image
is of that text.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxrbench.errors import UserError, first_line
from cxrbench.features.stored.table import LEVELS, EmbeddingTable, checked
from cxrbench.files.atomic import atomic_path
from cxrbench.files.names import some

EMBEDDINGS = "embeddings"
COLUMN = "embedding"
IMAGE_COLUMNS = ("image", "image_id", "path", "id")
LAYOUT = "images, embeddings [n, D]; datasets, maps0 .. maps3, texts, text_embeddings if there are such"


def read_embeddings(path: Path, name: str | None = None) -> EmbeddingTable:
    """A file's embeddings. ``name``: of the column or array (in HDF5 also the group), if it is not the usual one.

    Raises UserError, one line: no such file, another format, NaN, rows that are there twice.
    """
    readers: Mapping[str, Callable[[Path, str | None], EmbeddingTable]] = {
        ".parquet": _read_parquet, ".npz": _read_npz, ".h5": _read_h5, ".hdf5": _read_h5,
    }  # fmt: skip
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: embeddings come in files that end in {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"no file {path} (looked from {Path.cwd()}); embeddings are embeddings:FILE[#NAME]")
    return checked(readers[path.suffix.lower()](path, name), path)


def write_embeddings(path: Path, table: EmbeddingTable) -> None:
    """Write a table in the format that the path ends in, whole or not at all. Raises UserError."""
    writers = {".parquet": _write_parquet, ".npz": _write_npz, ".h5": _write_h5, ".hdf5": _write_h5}
    if path.suffix.lower() not in writers:
        raise UserError(f"{path}: embeddings are written to files that end in {', '.join(writers)}")
    if table.maps and path.suffix.lower() == ".parquet":
        raise UserError(f"{path}: maps do not go into Parquet; write .npz or .h5")
    with atomic_path(path) as temporary:
        writers[path.suffix.lower()](temporary, checked(table, path))


def _read_parquet(path: Path, name: str | None) -> EmbeddingTable:
    try:
        frame = pq.read_table(path)
        columns: list[str] = frame.column_names
    except Exception as error:  # a damaged file may hold anything
        raise UserError(f"{path} cannot be read as Parquet ({first_line(error)})") from error
    wanted = name or COLUMN
    if wanted not in columns:
        others = [c for c in columns if pa.types.is_nested(frame.schema.field(c).type)]
        advice = f"name it: #{others[0]}" if others else "one list of numbers per row"
        raise UserError(f"{path} has no column {wanted!r} ({advice}); it has {some(columns)}")
    column = next((c for c in IMAGE_COLUMNS if c in columns), None)
    if column is None:
        raise UserError(f"{path} has no column {' or '.join(map(repr, IMAGE_COLUMNS))} that says whose each row is")
    images, vectors = _texts(frame, column), _matrix(path, wanted, frame[wanted])
    datasets = _texts(frame, "dataset") if "dataset" in columns else [None] * len(frame)
    texts = _texts(frame, "text") if "text" in columns else [None] * len(frame)
    nameless = [i for i, pair in enumerate(zip(images, texts, strict=True)) if (pair[0] is None) == (pair[1] is None)]
    if nameless:
        raise UserError(f"{path}: row {nameless[0] + 1:,} is of no image and no text, or of both")
    ours, theirs = ([i for i, one in enumerate(names) if one is not None] for names in (images, texts))
    return EmbeddingTable(
        images=tuple(str(images[i]) for i in ours),
        pooled=vectors[ours],
        datasets=tuple(datasets[i] or "" for i in ours) if any(datasets) else (),
        texts=tuple(str(texts[i]) for i in theirs),
        text_vectors=vectors[theirs] if theirs else None,
    )


def _texts(frame: pa.Table, column: str) -> list[str | None]:
    values = frame[column].to_pylist()
    return [v.decode(errors="replace") if isinstance(v, bytes) else None if v is None else str(v) for v in values]


def _matrix(path: Path, name: str, column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of lists of numbers as rows [n, D]."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or _is_fixed(column.type)):
        raise UserError(f"{path}: {name} is {column.type}, not a list of numbers in every row")
    lists = column.combine_chunks()
    lengths = lists.value_lengths().unique().to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise UserError(f"{path}: the lists in {name} are not of one length: {some([str(n) for n in lengths])}")
    try:
        flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: {name} holds what is no number ({first_line(error)})") from error
    return flat.reshape(len(column), -1)


def _is_fixed(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind)


def _write_parquet(path: Path, table: EmbeddingTable) -> None:
    parts = [table.pooled, *([] if table.text_vectors is None else [table.text_vectors])]
    if len({part.shape[1] for part in parts}) > 1:
        raise UserError("texts and images have vectors of different widths, which one column cannot hold: write .npz")
    flat, width = pa.array(np.concatenate(parts).ravel()), table.pooled.shape[1]
    written: dict[str, Any] = {"image": pa.array([*table.images, *[None] * len(table.texts)], pa.string())}
    if table.datasets:
        written["dataset"] = pa.array([*table.datasets, *[None] * len(table.texts)], pa.string())
    if table.texts:
        written["text"] = pa.array([*[None] * len(table.images), *table.texts], pa.string())
    written[COLUMN] = pa.FixedSizeListArray.from_arrays(flat, width)
    pq.write_table(pa.table(written), path, compression="zstd")


def _read_npz(path: Path, name: str | None) -> EmbeddingTable:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # a damaged archive: zipfile, zlib and numpy each say so in their way
        advice = "; texts as np.array(names, dtype=str), not as objects" if "allow_pickle" in str(error) else ""
        raise UserError(f"{path} cannot be read as npz ({first_line(error)}){advice}") from error
    return _of_arrays(path, arrays, name)


def _write_npz(path: Path, table: EmbeddingTable) -> None:
    with open(path, "wb") as handle:  # a name would be given the ending .npz
        np.savez(handle, allow_pickle=False, **_arrays(table))


def _read_h5(path: Path, name: str | None) -> EmbeddingTable:
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            group, array = file, name
            if name is not None and isinstance(file.get(name), h5py.Group):
                group, array = file[name], None
            arrays = {
                str(key): value.asstr()[...].astype(str) if h5py.check_string_dtype(value.dtype) else value[...]
                for key, value in group.items()
                if isinstance(value, h5py.Dataset)
            }
    except Exception as error:  # a damaged file may hold anything
        raise UserError(f"{path} cannot be read as HDF5 ({first_line(error)})") from error
    return _of_arrays(path, arrays, array)


def _write_h5(path: Path, table: EmbeddingTable) -> None:
    h5py = _h5py(path)
    with h5py.File(path, "w") as file:
        for key, value in _arrays(table).items():
            if value.dtype.kind == "U":
                file.create_dataset(key, data=value.tolist(), dtype=h5py.string_dtype())
            else:
                file.create_dataset(key, data=value)


def _h5py(path: Path) -> Any:
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"{path} is HDF5, which needs one package more: pip install 'cxrbench[hdf5]'")
    return importlib.import_module("h5py")


def _arrays(table: EmbeddingTable) -> dict[str, NDArray[Any]]:
    """A table as npz and HDF5 have it."""
    arrays: dict[str, NDArray[Any]] = {"images": np.array(table.images, str), EMBEDDINGS: table.pooled}
    if table.datasets:
        arrays["datasets"] = np.array(table.datasets, str)
    arrays |= {f"maps{level}": maps for level, maps in enumerate(table.maps)}
    if table.text_vectors is not None:
        arrays |= {"texts": np.array(table.texts, str), "text_embeddings": table.text_vectors}
    return arrays


def _of_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], name: str | None) -> EmbeddingTable:
    """A table from the arrays of npz or HDF5."""
    wanted = name or EMBEDDINGS
    if lacking := [key for key in ("images", wanted) if key not in arrays]:
        raise UserError(f"{path} has no array {lacking[0]!r}; it has {some(list(arrays))}. The layout: {LAYOUT}")
    numbers = {key: arrays[key] for key in arrays if key in (wanted, "text_embeddings") or key.startswith("maps")}
    for key, values in numbers.items():
        if values.dtype.kind not in "fiu":
            raise UserError(f"{path}: {key} holds {values.dtype}, not numbers")
    vectors = arrays.get("text_embeddings")
    return EmbeddingTable(
        images=_names(path, "images", arrays["images"]),
        pooled=numbers[wanted].astype(np.float32, copy=False),
        datasets=_names(path, "datasets", arrays["datasets"]) if "datasets" in arrays else (),
        maps=tuple(arrays[f"maps{level}"] for level in range(LEVELS) if f"maps{level}" in arrays),
        texts=_names(path, "texts", arrays["texts"]) if "texts" in arrays else (),
        text_vectors=None if vectors is None else vectors.astype(np.float32, copy=False),
    )


def _names(path: Path, key: str, values: NDArray[Any]) -> tuple[str, ...]:
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        raise UserError(f"{path}: {key} is {list(values.shape)} {values.dtype}; give texts [n]")
    texts = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    return tuple(map(str, texts.tolist()))
