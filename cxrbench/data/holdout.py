"""Patients to be kept out of pretraining: those whom another dataset of the same source holds out for evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.errors import UserError


@dataclass(frozen=True)
class Exclusions:
    """``patients``: by dataset that is trained on, whom to leave out. ``notes``: what was excluded, and what cannot be.

    Patients are given as that dataset's own ``patient_id``; only such as it would otherwise train on.
    """

    patients: dict[str, frozenset[str]]
    notes: tuple[str, ...]


def held_out_patients(manifest: Manifest, others: Iterable[Manifest]) -> set[str]:
    """Training patients of a manifest who are in validation or test of any of the others.

    The identifiers of all of them must mean the same patients (``Dataset.patients``).
    """
    held_out: set[str] = set()
    for other in others:
        images = other.images
        held_out.update(images.loc[images["split"].isin(["val", "test"]), "patient_id"].astype(str))
    images = manifest.images
    return held_out & set(images.loc[images["split"] == "train", "patient_id"].astype(str))


def present(data: Path, known: Iterable[str]) -> tuple[str, ...]:
    """Which of the datasets have a folder in the data folder, sorted."""
    return tuple(sorted(name for name in known if (data / name).is_dir()))


def exclusions(
    manifests: Sequence[Manifest],
    names: Iterable[str],
    known: Mapping[str, Dataset],
    load: Callable[[str], Manifest],
) -> Exclusions:
    """Whom to leave out of each manifest's training patients, because of the datasets ``names``.

    Two datasets are related if they share a source (``lineage``). If their identifiers mean the same patients
    (``Dataset.patients``), the other one's validation and test patients are excluded; if not (RSNA and SIIM-ACR renamed
    the patients of ChestX-ray14; Symile-MIMIC without its tables has none), nobody can say who is who, and a note says
    so. ``load`` reads a dataset; one that cannot be read gives a note. ``known``: the registered datasets; of a user's
    own dataset only the lineage is known.
    """
    read: dict[str, Manifest | UserError] = {manifest.name: manifest for manifest in manifests}
    patients: dict[str, frozenset[str]] = {}
    notes: list[str] = []
    wanted = sorted(set(names) & set(known))
    for manifest in manifests:
        name = manifest.split_of or manifest.name
        whose = known[name].patients if name in known and not manifest.own_patients else ""
        related = [n for n in wanted if n != manifest.name and set(known[n].lineage) & set(manifest.lineage)]
        unclear = [n for n in related if not whose or known[n].patients != whose]
        excluded: set[str] = set()
        for name in related:
            if name in unclear:
                continue
            if name not in read:
                read[name] = _read(name, load)
            other = read[name]
            if isinstance(other, UserError):
                notes.append(f"{name} cannot be read, so its held-out patients stay in {manifest.name}: {other}")
                continue
            if other.own_patients:
                unclear.append(name)
                continue
            found = held_out_patients(manifest, [other])
            notes.append(f"{len(found):,} training patients of {manifest.name} are held out in {name}: excluded.")
            excluded |= found
        if unclear:
            notes.append(
                f"{manifest.name} shares its source with {', '.join(unclear)}, but not the identifiers of patients: "
                "held-out patients of one may be among the training patients of the other."
            )
        patients[manifest.name] = frozenset(excluded)
    return Exclusions(patients, tuple(notes))


def _read(name: str, load: Callable[[str], Manifest]) -> Manifest | UserError:
    try:
        return load(name)
    except UserError as error:
        return error
