"""Several datasets in one manifest: whose images are trained on, and whose are tested on."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from cxrbench.data.attributes import PREFIX
from cxrbench.data.manifest import COLUMNS, Dataset, Manifest
from cxrbench.data.subsets.frequent import TOP, most_frequent
from cxrbench.data.vocabulary.united import United, united
from cxrbench.engine.names import TOGETHER
from cxrbench.errors import NotApplicableError
from cxrbench.files.names import some

SET, OWN_ID = "set:name", "set:image_id"
"""Columns of a joined image table: the dataset of an image, and what the image is called there."""


@dataclass(frozen=True)
class Joined:
    """Datasets to train on, and one to test on.

    ``manifest``: the images of all of them under the labels that all share, called as in the tested one (``united``),
    with the columns ``SET`` and ``OWN_ID``, the name of the tested one, and every set's own splits. Images of the
    tested set keep their identifiers; those of others have the set's name before them. A patient has one identifier in
    all sets whose identifiers mean the same patients. ``tested``: what is tested on by itself. ``sets``: the datasets
    as they were read, each once. ``training``: names of those that are trained on, ``testing``: of those that are
    tested on. ``unclear``: pairs of related sets of which nobody has said who is who.
    """

    manifest: Manifest
    tested: Manifest
    sets: tuple[Manifest, ...]
    training: tuple[str, ...]
    testing: tuple[str, ...]
    unclear: tuple[tuple[str, str], ...]
    united: United

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of what is trained on: the training sets' names and fingerprints, and labels of other names."""
        of: list[object] = [(one.name, one.fingerprint) for one in self.sets if one.name in self.training]
        if renamed := self.united.renamed():
            of.append(renamed)
        return hashlib.sha256(json.dumps(of).encode()).hexdigest()

    @property
    def sources(self) -> tuple[dict[str, object], ...]:
        """What predictions say of each training set, as plain JSON values."""
        return tuple(
            {"name": one.name, "lineage": list(one.lineage), "licence": one.licence}
            for one in self.sets
            if one.name in self.training
        )


def joined(training: Sequence[Manifest], tested: Manifest | None, known: Mapping[str, Dataset]) -> Joined:
    """Training sets and the set that is tested on; None: all of theirs together, under the name ``all``.

    ``known``: the registered datasets, which say whose patients are the same. Raises NotApplicableError where the sets
    share no label, where one has no training images or none of them has validation images, and where real images would
    meet synthetic ones.
    """
    training = sorted(training, key=lambda one: one.name)
    if tested is None:
        shared = _united(training)
        tested = stacked(training, shared, known, name=TOGETHER)
        sets, testing = tuple(training), tuple(one.name for one in training)
    else:
        same = next((one for one in training if one.name == tested.name), tested)
        sets, testing = (*(one for one in training if one is not same), same), (tested.name,)
        sets = tuple(sorted(sets, key=lambda one: one.name))
        shared = _united([tested, *(one for one in sets if one.name != tested.name)])
    names = tuple(one.name for one in training)
    _refuse_unfit(training, sets)
    home = None if tested.name == TOGETHER else tested.name
    whole = stacked(sets, shared, known, name=tested.name, home=home)
    learnt = pd.DataFrame(whole.images.loc[whole.images[SET].isin(names)])
    whole = replace(
        whole,
        groups=_groups([one for one in sets if one.name in testing], learnt, shared),
        lineage=tested.lineage,
        source=tested.source,
        licence=tested.licence,
        notes=_notes(training, tested, whole, shared),
    )
    return Joined(whole, tested, sets, names, testing, tuple(unclear_pairs(sets, known)), shared)


def stacked(
    sets: Sequence[Manifest],
    shared: United,
    known: Mapping[str, Dataset],
    *,
    name: str,
    home: str | None = None,
) -> Manifest:
    """The images of several sets in one manifest, under the labels that they share.

    Identifiers of images and studies have the set's name before them, those of patients the name of whoever gave the
    identifiers; but for those of the set ``home``.
    """
    root = Path(os.path.commonpath([one.root.absolute() for one in sets]))
    ours = next((whose(one, known) for one in sets if one.name == home), None)
    tables = []
    for one in sets:
        images, prefix = one.images, "" if one.name == home else f"{one.name}:"
        at = Path(os.path.relpath(one.root.absolute(), root)).as_posix()
        patients = "" if whose(one, known) == ours else f"{whose(one, known)}:"
        own = shared.own[one.name]
        table = pd.DataFrame(images[[*COLUMNS, "stamp", *own.values()]])
        table.columns = pd.Index([*COLUMNS, "stamp", *own])
        tables.append(
            table.assign(
                **{SET: one.name, OWN_ID: images["image_id"]},
                **{c: images[c] for c in images.columns if str(c).startswith(PREFIX)},
                image_id=prefix + images["image_id"].astype(str),
                patient_id=patients + images["patient_id"].astype(str),
                study_id=[f"{prefix}{study}" if study else "" for study in images["study_id"].fillna("")],
                path=[path if os.path.isabs(path) or at == "." else f"{at}/{path}" for path in images["path"]],
            )
        )
    exclusive = all(one.kind == "multiclass" and set(one.labels) == {*shared.own[one.name].values()} for one in sets)
    whole = pd.concat(tables, ignore_index=True)
    attributes = {c: whole[c].fillna("") for c in whole.columns if str(c).startswith(PREFIX)}
    return Manifest(
        name=name,
        root=root,
        images=whole.assign(**attributes),
        labels=shared.labels,
        kind="multiclass" if exclusive else "multilabel",
        synthetic=all(one.synthetic for one in sets),
        lineage=tuple(dict.fromkeys(name for one in sets for name in (one.name, *one.lineage))),
        licence="; ".join(dict.fromkeys(one.licence for one in sets if one.licence)),
        notes=tuple(f"{one.name}: {note}" for one in sets for note in one.notes),
    )


def whose(manifest: Manifest, known: Mapping[str, Dataset]) -> str:
    """Who gave the patients their identifiers: a name that several datasets may share, else the dataset's own."""
    name = manifest.split_of or manifest.name
    shared = known[name].patients if name in known and not manifest.own_patients else ""
    return shared or f"{name}'s own"


def unclear_pairs(sets: Sequence[Manifest], known: Mapping[str, Dataset]) -> list[tuple[str, str]]:
    """Pairs of sets with images of one source whose identifiers do not say which patients are in both."""
    return [
        (one.name, other.name)
        for one, other in combinations(sets, 2)
        if {one.name, *one.lineage} & {other.name, *other.lineage} and whose(one, known) != whose(other, known)
    ]


def _united(sets: Sequence[Manifest]) -> United:
    """The labels that mean the same in all sets, in the first one's order. Raises NotApplicableError for none."""
    shared = united([(one.name, one.labels) for one in sets])
    if not shared.labels:
        has = "; ".join(f"{one.name} has {some(one.labels) if one.labels else 'none'}" for one in sets)
        raise NotApplicableError(f"no label means the same in all sets: {has}")
    return shared


def _groups(tested: Sequence[Manifest], learnt: pd.DataFrame, shared: United) -> dict[str, tuple[str, ...]]:
    """The headline: what is left of the tested sets' own, or all labels where nothing is; and all of them.

    Where every tested set has a group of its most frequent labels (``top5``), so has the whole: of ``learnt`` images.
    """
    labels = shared.labels
    headline = tuple(
        label for label in labels if all(shared.own[one.name][label] in one.groups["macro"] for one in tested)
    )
    headline = headline or labels
    groups = {"macro": headline} if headline == labels else {"macro": headline, "all": labels}
    tops = {name for name in tested[0].groups if re.fullmatch(rf"{TOP}\d+", name)}
    for name in sorted(tops.intersection(*(one.groups for one in tested))):
        groups[name] = most_frequent(learnt, labels, int(name.removeprefix(TOP)))
    return groups


def _refuse_unfit(training: Sequence[Manifest], sets: Sequence[Manifest]) -> None:
    """Raise NotApplicableError where these sets cannot be trained on together."""
    if len({one.synthetic for one in sets}) > 1:
        which = ", ".join(f"{one.name} is {'synthetic' if one.synthetic else 'real'}" for one in sets)
        raise NotApplicableError(f"real and synthetic images are not mixed ({which}): give --data")
    for one in training:
        if not len(one.rows_of("train")):
            raise NotApplicableError(f"the train split of {one.name} is empty, so it cannot be trained on")
    if not any(len(one.rows_of("val")) for one in training):
        names = " and ".join(one.name for one in training)
        raise NotApplicableError(f"the val split of {names} is empty, so nothing can be selected on it")


def _notes(training: Sequence[Manifest], tested: Manifest, whole: Manifest, shared: United) -> tuple[str, ...]:
    """What a reader must know of the sets and their labels."""
    names = " + ".join(one.name for one in training)
    notes = [f"trained and selected on {names}, over {len(whole.labels)} label(s) that the sets share", *shared.told()]
    for one in (*training, tested):
        used = {*shared.own.get(one.name, {}).values()}
        if (others := [label for label in one.labels if label not in used]) and one.name != TOGETHER:
            notes.append(f"labels of {one.name} that are not shared, so left out: {', '.join(others)}")
        if one.kind == "multiclass" and whole.kind == "multilabel":
            notes.append(f"{one.name}: its classes exclude each other, and are trained as labels of their own here")
    for one in training if len(training) > 1 else ():
        notes += [f"{one.name}: {line}" for line in _lopsided(one, [*shared.own[one.name].values()])]
        if not len(one.rows_of("val")):
            notes.append(f"{one.name} has no val split: nothing is selected on it")
    if tested.name == TOGETHER:
        notes.append("test images of several sets are ranked together: what tells the sets apart counts, too")
    read = {one.name: one for one in training if one.name != tested.name} if tested.name != TOGETHER else {}
    return (*dict.fromkeys(notes), *tested.notes, *(f"{name}: {n}" for name, one in read.items() for n in one.notes))


def _lopsided(manifest: Manifest, labels: Sequence[str]) -> list[str]:
    """Which labels one set alone could not train."""
    targets = manifest.images[list(labels)].to_numpy(np.float32)[manifest.rows_of("train")]
    lines = []
    for of, words in ((1, "no positive"), (0, "no negative")):
        if lacking := [label for label, column in zip(labels, targets.T, strict=True) if not (column == of).any()]:
            lines.append(f"{words} training image of {', '.join(lacking)}")
    return lines
