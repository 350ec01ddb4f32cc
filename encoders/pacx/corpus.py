"""Studies of images with what two frozen teachers make of their ECGs and laboratory values."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torch import Tensor

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoders.ecg.teacher import TeacherRecipe, digest, ecg_embeddings
from cxrbench.encoders.labs.autoencoder import VERSION, Corruption, DAERecipe, labs_embeddings, load_dae, train_dae
from cxrbench.encoders.pretraining.corpus import TrainingImages
from cxrbench.encoders.pretraining.engine.prepared import OnDisk
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import made_once
from cxrbench.files.digests import file_sha256

ECG, LABS = "ecg", "labs"
LAB = "lab:"

Modalities = Literal["both", "ecg", "labs"]
Imputed = Literal["zero", "mean"]


@dataclass(frozen=True)
class Teachers:
    """Who teaches. ``ecg``, ``labs``: weights, None: trained on the studies; ``imputed``: a missing test's value."""

    ecg: Path | None = None
    labs: Path | None = None
    corruption: Corruption = "both"
    imputed: Imputed = "zero"
    ecg_recipe: TeacherRecipe = field(default_factory=TeacherRecipe)
    labs_recipe: DAERecipe = field(default_factory=DAERecipe)


@dataclass(frozen=True)
class PaCXCorpus:
    """A unit is a study; each epoch draws one of its images, so that no two images of a batch share an ECG.

    ``images_of``: row numbers of each study's images. ``taught``: by modality the teacher's embeddings [studies, E],
    and ``present``, bool [studies], which studies have it; without it a row is 0.
    """

    images: TrainingImages
    images_of: tuple[Rows, ...]
    taught: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    teachers: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.images_of)

    def batch(self, units: Rows, rngs: Sequence[np.random.Generator]) -> dict[str, Tensor]:
        """``images``, and for each modality ``NAME`` [n, E] and ``has_NAME`` [n] (bool)."""
        rows = np.array([rng.choice(self.images_of[unit]) for unit, rng in zip(units, rngs, strict=True)], np.int64)
        read = {"images": self.images.images(rows)}
        for name, embeddings in self.taught.items():
            read[name] = torch.from_numpy(embeddings[units])
            read[f"has_{name}"] = torch.from_numpy(self.present[name][units])
        return read

    @property
    def facts(self) -> Mapping[str, Any]:
        """Counts, and who the teachers were: a run goes on with none but them."""
        counts = {f"studies with {name}": int(has.sum()) for name, has in self.present.items()}
        return {"studies": len(self), **counts, **{f"teacher of {name}": said for name, said in self.teachers.items()}}


def wanted(modalities: Modalities) -> tuple[str, ...]:
    """The names of the modalities."""
    return (ECG, LABS) if modalities == "both" else (modalities,)


def with_signals(manifest: Manifest, modalities: Modalities) -> NDArray[np.bool_]:
    """Which images [n] belong to a study with an ECG or a laboratory value, as far as they are wanted."""
    if manifest.signals is None:
        return np.zeros(len(manifest), bool)
    has = np.any([present(manifest.signals, name) for name in wanted(modalities)], axis=0)
    return manifest.images["study_id"].isin(list(manifest.signals["study_id"][has])).to_numpy()


def present(signals: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Which rows [n] of ``Manifest.signals`` have an ECG, or any laboratory value."""
    if name == LABS:
        return np.asarray(np.isfinite(percentiles(signals)).any(axis=1))
    return signals[ECG].fillna("").to_numpy(str) != "" if ECG in signals else np.zeros(len(signals), bool)


def percentiles(signals: pd.DataFrame) -> NDArray[np.float32]:
    """The columns ``lab:NAME`` [n, K]; NaN where a test was not made."""
    return signals[[name for name in signals if str(name).startswith(LAB)]].to_numpy(np.float32)


def build(images: TrainingImages, modalities: Modalities, teachers: Teachers, cache: Path | None = None) -> PaCXCorpus:
    """Ask the teachers about every study of the images, or find in ``cache`` what they said. Raises UserError.

    ``cache``: by default the folder of the prepared images, or the user's cache folder where there are none.
    """
    keys = pd.MultiIndex.from_arrays([images.rows["dataset"], images.rows["study_id"]])
    codes, studies = keys.factorize()
    order = np.argsort(codes, kind="stable")
    images_of = tuple(np.split(order, np.cumsum(np.bincount(codes))[:-1]))
    tables = []
    for name, manifest in images.manifests.items():
        if manifest.signals is not None:
            table = manifest.signals.drop_duplicates("study_id").assign(dataset=name)
            if ECG in table:
                roots = table[ECG].fillna("").astype(str)
                table[ECG] = [str(manifest.root / path) if path else "" for path in roots]
            tables.append(table)
    signals = pd.concat(tables, ignore_index=True).set_index(["dataset", "study_id"]).loc[list(studies)]
    folder = cache or cache_of(images)
    ask = {ECG: ask_ecg, LABS: ask_labs}
    taught, has, said = {}, {}, {}
    for name in wanted(modalities):
        has[name] = present(signals, name)
        if has[name].sum() < 2:
            raise UserError(
                f"fewer than two training studies have {name}: pass --option modalities="
                f"{LABS if name == ECG else ECG}, or data with both, e.g. Symile-MIMIC"
            )
        embeddings, said[name] = ask[name](signals[has[name]], teachers, folder)
        taught[name] = np.zeros((len(signals), embeddings.shape[1]), np.float32)
        taught[name][has[name]] = embeddings
    return PaCXCorpus(images, images_of, taught, has, said)


def cache_of(images: TrainingImages) -> Path:
    """Where prepared images lie, else the user's cache folder."""
    if isinstance(images.prepared, OnDisk):
        return images.prepared.path.parent
    return user_cache_path("cxrbench") / "pretraining"


def ask_ecg(signals: pd.DataFrame, teachers: Teachers, cache: Path) -> tuple[NDArray[np.float32], str]:
    """Embeddings [n, E] of the recordings, and who made them."""
    taught = ecg_embeddings([Path(path) for path in signals[ECG]], teachers.ecg, cache, teachers.ecg_recipe)
    return taught.embeddings, taught.teacher


def ask_labs(signals: pd.DataFrame, teachers: Teachers, cache: Path) -> tuple[NDArray[np.float32], str]:
    """Embeddings [n, 256] of the laboratory values, and who made them."""
    values = percentiles(signals)
    x, made = torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(np.isfinite(values).astype(np.float32))
    said, path = "given", teachers.labs
    if path is None:
        shown = hashlib.sha256(values.tobytes()).hexdigest()
        name = digest([VERSION, shown, list(values.shape), teachers.corruption, asdict(teachers.labs_recipe)])
        path, said = cache / f"labs-teacher-{name}.safetensors", f"trained on {len(x)} studies of the data"
        made_once(path, lambda: train_dae(x, made, kind=teachers.corruption, recipe=teachers.labs_recipe).state_dict())
    model = load_dae(path, x.shape[1])
    means = (x * made).sum(0) / made.sum(0).clamp(min=1) if teachers.imputed == "mean" else None
    embeddings = labs_embeddings(model, x, made, means).numpy()
    sha256 = file_sha256(path)[:16]
    return embeddings, f"autoencoder of {x.shape[1]} tests, {said}, sha256 {sha256}"
