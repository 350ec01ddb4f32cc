"""Datasets: reading one, checking it, copying it small, and drawing the phantom."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.api.given import by_name
from cxrbench.cores import cores
from cxrbench.errors import OnBadImage, UserError, chosen
from cxrbench.files.folders import cache_folder, data_folder
from cxrbench.progress import Advance, Bar, unseen

if TYPE_CHECKING:
    from cxrbench.data.check import CheckReport
    from cxrbench.data.manifest import Manifest
    from cxrbench.data.prepared.copy import Copy
    from cxrbench.data.shared_pictures import SharedPictures

MOST_THREADS = 16


def load_dataset(
    name: str,
    *,
    data: Path | str | None = None,
    cache: Path | str | None = None,
    anew: bool = False,
    bar: Bar = unseen,
) -> "Manifest":
    """The table of a dataset's images by its name or the path of a CSV or folder.

    ``data``: the data folder (default: CXRBENCH_DATA, else the phantom). ``anew``: the tables are read again, whatever
    is kept of them in the cache. ``bar`` shows the phantom being drawn. Raises UserError.
    """
    from cxrbench.engine.registry import load_dataset

    kept = None if anew else cache_folder(cache)
    name = by_name("the dataset", name, "./labels.csv")
    return load_dataset(name, data_folder(data), lambda: _phantom(name, cache, bar), cache=kept)


def check_dataset(
    dataset: str,
    *,
    data: Path | str | None = None,
    cache: Path | str | None = None,
    decode: bool = True,
    max_pixels: int | None = None,
    bar: Bar = unseen,
) -> "CheckReport":
    """What is there: images, patients, positives per label and split, shared patients, unreadable files, copies.

    ``dataset``, ``data``, ``cache``: as of ``load_dataset``. ``decode``: look at every image, too. ``max_pixels``:
    larger images are counted as unreadable. The report has ``ok``, and prints as text. Raises UserError.

    Example::

        report = cxrbench.check_dataset("./my/labels.csv")
        assert report.ok, report
    """
    from cxrbench.data.check import check
    from cxrbench.data.decode.images import MAX_PIXELS

    manifest = load_dataset(dataset, data=data, cache=cache, anew=True, bar=bar)
    with bar(f"checking {manifest.name}") as advance:
        looked = _added_up(advance, len(manifest))
        return check(manifest, decode_all=decode, max_pixels=max_pixels or MAX_PIXELS, progress=looked)


def compare_pictures(
    one: str,
    other: str,
    *,
    data: Path | str | None = None,
    cache: Path | str | None = None,
    max_pixels: int | None = None,
    bar: Bar = unseen,
) -> "SharedPictures":
    """Which pictures two datasets share, whatever their files are called; it does not matter which comes first.

    Arguments as of ``check_dataset``; all images of both are decoded. Raises UserError.
    """
    from cxrbench.data.decode.images import MAX_PIXELS
    from cxrbench.data.shared_pictures import shared_pictures
    from cxrbench.engine.elsewhere.joined import whose
    from cxrbench.engine.registry import dataset_adapters

    sets = [load_dataset(name, data=data, cache=cache, bar=bar) for name in (one, other)]
    if sets[0].name == sets[1].name:
        raise UserError(f"{one} and {other} are one dataset: check it alone, by which copies in it are found")
    if {sets[0].split_of or sets[0].name} == {sets[1].split_of or sets[1].name}:
        raise UserError(f"{one} and {other} are the same images in other splits")
    known = dataset_adapters()
    with bar(f"comparing {sets[0].name} and {sets[1].name}") as advance:
        return shared_pictures(
            *sets,
            same_patients=whose(sets[0], known) == whose(sets[1], known),
            max_pixels=max_pixels or MAX_PIXELS,
            progress=_added_up(advance, sum(map(len, sets))),
        )


def _added_up(advance: Advance, total: int) -> Callable[[int], None]:
    """What takes how many images more were looked at, and tells ``advance`` how many they are by now."""
    seen = 0
    advance(0, total)

    def looked(images: int) -> None:
        nonlocal seen
        seen += images
        advance(seen, total)

    return looked


def vocabulary_terms() -> list[dict[str, str]]:
    """The terms of the vocabulary: what each is among CheXpert's labels and in RadLex, and which datasets have it."""
    from cxrbench.data.vocabulary.tables import meanings, terms

    having: dict[str, list[str]] = {}
    for meaning in meanings().values():
        having.setdefault(meaning.term, []).append(meaning.dataset)
    return [
        {"term": one.term, "CheXpert": one.chexpert, "RadLex": one.radlex, "meaning": one.meaning,
         "datasets": ", ".join(dict.fromkeys(having.get(one.term, [])))}
        for one in terms().values()
    ]  # fmt: skip


def labels_of(dataset: str) -> list[dict[str, str]]:
    """What each label of a dataset means in the vocabulary; "" where it is outside. Raises UserError."""
    from cxrbench.data.vocabulary.tables import meanings, terms

    found = [meaning for meaning in meanings().values() if meaning.dataset == dataset]
    if not found:
        known = ", ".join(dict.fromkeys(meaning.dataset for meaning in meanings().values()))
        raise UserError(f"the vocabulary has no labels of {dataset!r}; it has those of: {known}")
    return [
        {"label": one.label, "term": one.term, "CheXpert": terms()[one.term].chexpert if one.term else "",
         "RadLex": terms()[one.term].radlex if one.term else "", "note": one.note}
        for one in found
    ]  # fmt: skip


def write_sidecar(table: Path | str, *, split_seed: int | None = None) -> Path:
    """Write ``NAME.toml`` beside your own CSV or COCO JSON: what is understood of it, and every other key.

    ``split_seed`` stratifies the splits that the table does not give. Returns the file's path. Raises UserError.
    """
    from cxrbench.data.custom.template import write_sidecar
    from cxrbench.plugins.entry_points import DATASETS, found

    if str(table) in found(DATASETS) and not Path(table).exists():
        raise UserError(f"{table} is a dataset whose layout is known: TOML files are for your own CSV or COCO JSON")
    return write_sidecar(Path(table), split_seed)


def prepare_copy(
    dataset: str,
    out: Path,
    *,
    size: int = 512,
    data: Path | str | None = None,
    cache: Path | str | None = None,
    on_bad_image: OnBadImage = "error",
    workers: int = 0,
    max_pixels: int | None = None,
    bar: Bar = unseen,
) -> "Copy":
    """Write ``out/NAME``: a dataset with 8-bit PNGs of at most ``size`` pixels a side, which is read like the original.

    Goes on where an earlier call stopped. ``workers``: decoding threads (0: one per core, at most 16). Raises
    UserError.
    """
    from cxrbench.data.decode.images import MAX_PIXELS
    from cxrbench.data.prepared.copy import prepare

    chosen("--on-bad-image", OnBadImage, on_bad_image)
    manifest = load_dataset(dataset, data=data, cache=cache, bar=bar)
    with bar(f"preparing {manifest.name}") as advance:
        return prepare(
            manifest,
            out.expanduser(),
            size,
            workers=workers or min(cores(), MOST_THREADS),
            skip_bad=on_bad_image == "skip",
            max_pixels=max_pixels or MAX_PIXELS,
            progress=advance,
        )


def write_phantom(out: Path, *, seed: int = 0, images: Mapping[str, int] | None = None, bar: Bar = unseen) -> None:
    """Write procedural chest X-rays in the official layouts; same seed, same bytes.

    ``images``: how many of each part (``vindr_train``, ``vindr_test``, ``rsna``, ...; default: all of them, as the
    phantom has them). Raises UserError.
    """
    from cxrbench.phantom.write import write

    with bar("phantom images") as advance:
        write(out, seed=seed, images=images, progress=advance)


def phantom_folder(cache: Path | str | None) -> Path:
    """The folder that stands for the data folder where none is given."""
    from cxrbench.phantom.write import VERSION

    return cache_folder(cache) / f"phantom-v{VERSION}"


def _phantom(name: str, cache: Path | str | None, bar: Bar) -> Path:
    """The phantom's data folder; what this dataset lacks is drawn now."""
    from cxrbench.phantom.write import ensure

    with bar("phantom images") as advance:
        return ensure(cache_folder(cache), [name], progress=advance)
