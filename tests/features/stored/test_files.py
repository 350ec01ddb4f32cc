"""Files of embeddings: three formats hold the same, and what no file may hold is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cxrbench.errors import UserError
from cxrbench.features.stored import files
from cxrbench.features.stored.files import read_embeddings, write_embeddings
from cxrbench.features.stored.table import EmbeddingTable

RNG = np.random.default_rng(0)
POOLED = RNG.normal(size=(3, 5)).astype(np.float32)
MAPS = tuple(RNG.normal(size=(3, 2, side, side)).astype(np.float16) for side in (8, 4, 2, 1))
WHOLE = EmbeddingTable(("a", "b", "ü/c.png"), POOLED, ("x", "x", "y"), (), ("No finding.",), POOLED[:1] + 1)


def same(one: EmbeddingTable, other: EmbeddingTable) -> bool:
    arrays = [
        (one.pooled, other.pooled),
        (one.text_vectors, other.text_vectors),
        *zip(one.maps, other.maps, strict=True),
    ]
    names = (one.images, one.datasets, one.texts) == (other.images, other.datasets, other.texts)
    return names and all(a is b is None or np.array_equal(a, b) for a, b in arrays)  # type: ignore[arg-type]


def with_maps(table: EmbeddingTable) -> EmbeddingTable:
    return EmbeddingTable(table.images, table.pooled, table.datasets, MAPS, table.texts, table.text_vectors)


@pytest.mark.parametrize("suffix", ["parquet", "npz", "h5", "hdf5"])
def test_what_is_written_is_read(suffix: str, tmp_path: Path) -> None:
    if suffix.startswith("h"):
        pytest.importorskip("h5py")
    path = tmp_path / f"e.{suffix}"
    write_embeddings(path, WHOLE)
    assert same(read_embeddings(path), WHOLE)
    if suffix == "parquet":
        with pytest.raises(UserError, match="maps do not go into Parquet"):
            write_embeddings(path, with_maps(WHOLE))
    else:
        write_embeddings(path, with_maps(WHOLE))
        assert same(read_embeddings(path), with_maps(WHOLE))


def test_a_parquet_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    columns = {"age": [1, 2], "id": [17, 18], "elixr": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.large_list(pa.float64()))}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=r"has no column 'embedding' \(name it: #elixr\); it has age, id, elixr"):
        read_embeddings(path)
    assert same(read_embeddings(path, "elixr"), EmbeddingTable(("17", "18"), np.array([[1, 2], [3, 4]], np.float32)))


def test_names_as_bytes_and_a_text_of_no_letters(tmp_path: Path) -> None:
    columns = {"image": pa.array([b"a", None], pa.binary()), "text": [None, ""], "embedding": [[1.0], [2.0]]}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    table = read_embeddings(tmp_path / "e.parquet")
    assert (table.images, table.texts) == (("a",), ("",))


def test_several_arrays_in_one_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", images=np.array([1, 2, 3]), b16=POOLED, l14=POOLED * 2)
    assert np.array_equal(read_embeddings(tmp_path / "e.npz", "l14").pooled, POOLED * 2)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["l14/images"], file["l14/embeddings"] = np.array([b"a", b"b", b"c"]), POOLED
    assert same(read_embeddings(tmp_path / "e.h5", "l14"), EmbeddingTable(("a", "b", "c"), POOLED))


def test_hdf5_without_its_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.h5").write_bytes(b"")
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs one package more: pip install 'cxrbench\[hdf5\]'"):
        read_embeddings(tmp_path / "e.h5")


NAN = POOLED.copy()
NAN[1, 2] = np.nan
NAMES = np.array(["a", "b", "c"])
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no names": ({"embeddings": POOLED}, "has no array 'images'; it has embeddings. The layout: images, emb"),
    "no numbers": ({"images": NAMES, "embeddings": NAMES}, "embeddings holds <U1, not numbers"),
    "one vector": ({"images": NAMES, "embeddings": POOLED[0]}, r"its embeddings are \[5\]; give one vector per image"),
    "too few": ({"images": NAMES, "embeddings": POOLED[:2]}, "has 2 embeddings for 3 images: one for each"),
    "twice": ({"images": np.array(["a", "b", "a"]), "embeddings": POOLED}, r"has 1 image\(s\) more than once: a; keep"),
    "NaN": ({"images": NAMES, "embeddings": NAN}, "the embedding of 1 of 3 is NaN or infinite: b; leave"),
    "objects": ({"images": NAMES.astype(object), "embeddings": POOLED}, "not as objects"),
    "two maps": ({"images": NAMES, "embeddings": POOLED, "maps0": MAPS[0], "maps1": MAPS[1]}, "has 2 maps per image"),
    "oblong maps": (
        {"images": NAMES, "embeddings": POOLED} | {f"maps{i}": m[:, :, :1] for i, m in enumerate(MAPS)},
        r"maps0 is \[3, 2, 1, 8\]; give \[n, C, side, side\]",
    ),
    "texts alone": ({"images": NAMES, "embeddings": POOLED, "texts": NAMES}, "its texts have no text_embeddings"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_no_file_may_hold(case: str, tmp_path: Path) -> None:
    arrays, message = WRONG[case]
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(UserError, match=message) as error:
        read_embeddings(tmp_path / "e.npz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a", "b"], "embedding": [[1.0, 2.0], [3.0]]}, "the lists in embedding are not of one length: 2, 1"),
        ({"image": ["a", "b"], "embedding": [1.0, 2.0]}, "embedding is double, not a list of numbers"),
        ({"image": ["a"], "embedding": [["x"]]}, "embedding holds what is no number"),
        ({"embedding": [[1.0]]}, "has no column 'image' or 'image_id'"),
        ({"image": ["a", None], "embedding": [[1.0], [2.0]]}, "row 2 is of no image and no text"),
    ],
)
def test_parquet_that_is_no_table_of_embeddings(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(UserError, match=message):
        read_embeddings(tmp_path / "e.parquet")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, with bytes changed, or with a piece taken out."""
    out = bytearray(content)
    first, last = sorted(rng.integers(len(out), size=2))
    match rng.integers(3):
        case 0:
            del out[first:]
        case 1:
            del out[first:last]
        case _:
            for at in rng.integers(len(out), size=4):
                out[at] = rng.integers(256)
    return bytes(out)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])  # damaged HDF5 can end the process: a fault of its C library
def test_damaged_files_are_refused_in_one_line_or_read(suffix: str, tmp_path: Path) -> None:
    path, rng = tmp_path / f"e.{suffix}", np.random.default_rng(0)
    write_embeddings(path, WHOLE)
    content, refused = path.read_bytes(), []
    for _ in range(40):
        path.write_bytes(mutated(content, rng))
        try:
            assert read_embeddings(path).pooled.shape[1] > 0
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("name", ["e.parquet", "e.npz", "e.csv", "gone.npz"])
def test_files_that_are_something_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_text("image,embedding\n")
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"cannot be read|come in files that end in|no file") as error:
        read_embeddings(tmp_path / name)
    assert "\n" not in str(error.value)
