"""A cell as it may leave a hospital: of every field it is said here what becomes of it, and what is not named goes.

docs/sharing-results.md has the same as a table. Identifiers become pseudonyms; texts that hold what looks like an
identifier, a path or a date are withheld whole; columns that no table needs (outlines, boxes, true embeddings) stay
behind. Rows are put into the order of the pseudonyms, for the old order would say who is who.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from cxrbench.exchange.encoder_names import without_folders
from cxrbench.exchange.salt import Salt
from cxrbench.exchange.traces import traces
from cxrbench.predictions import Kind, NotApplicable, Predictions
from cxrbench.task import Cell, DecoderName, DetectorName

ROWS = ("image_id", "patient_id", "split", "fold")
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "multilabel": ("target", "score"),
    "multiclass": ("target", "score"),
    "regression": ("target", "score"),
    "segmentation": ("target", "intersection", "predicted"),
    "detection": ("target", "scores", "classes", "matches"),
    "retrieval": ("target", "rank", "value"),
}
"""Columns by kind, before the colon: what metrics are computed of."""
OLDEST = 89
"""Years above which an age is an identifier (HIPAA, 45 CFR 164.514(b)(2)(i)(C))."""
AGE = re.compile(r"(?:^|[\W_])age(?:$|[\W_])", re.IGNORECASE)
FACTS = ("train_images", "steps", "validation_losses", "unit", "chosen", "head")
HEADS = frozenset({*get_args(DecoderName), *get_args(DetectorName)})
COORDINATES = ("encoder", "dataset", "protocol", "fraction", "seed", "identity", "parts", "fixed_images")
OF_COLUMN = ("dataset", "protocol version", "feature format", "training data")
OF_DATA = ("dataset", "training data")
"""Parts of an identity that are digests of whole tables with identifiers in them."""
MADE = ("versions", "device", "precision", "date", "seconds")
ENCODER = ("method", "licence", "pretrained_on", "synthetic", "assumed", "wall_hours", "gpu_hours", "cpu_hours",
           "citation", "year", "unverified", "parameters", "fingerprint")  # fmt: skip
WITHHELD = "a note was withheld: it held {}"


@dataclass(frozen=True)
class Deidentifier:
    """``known``: identifiers of the store, none of which may stand in a text. ``told``: is given what is withheld."""

    salt: Salt
    known: Collection[str]
    told: Callable[[str], None]
    _pseudonyms: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def pseudonyms(self, dataset: str, names: Iterable[object]) -> list[str]:
        """Of identifiers of a data set; "" where there is none."""
        found = []
        for name in names:
            key = dataset, "" if name is None or name != name else str(name)
            if key not in self._pseudonyms:
                self._pseudonyms[key] = self.salt.pseudonym(*key)
            found.append(self._pseudonyms[key])
        return found

    def predictions(self, one: Predictions) -> Predictions:
        """A cell without what identifies."""
        rows, lost = self._rows(one)
        where = f"{one.cell['encoder']} on {one.cell['dataset']}:{one.cell['protocol']}"
        return replace(
            one,
            rows=rows,
            cell=self.cell(one.cell, one.encoder.get("fingerprint", "")),
            encoder=self._encoder(one.encoder, where),
            dataset=self._dataset(one.dataset, where),
            notes=(*self._sentences(one.notes, where), *lost),
            made=self._made(one.made, where),
            file=None,
        )

    def not_applicable(self, one: NotApplicable) -> NotApplicable:
        """A cell that its encoder could not be asked, with the reason if nothing in it identifies."""
        where = f"{one.cell['encoder']} on {one.cell['dataset']}:{one.cell['protocol']}"
        (reason,) = self._sentences([one.reason], where)
        return NotApplicable(self.cell(one.cell, ""), reason, one.synthetic)

    def cell(self, facts: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
        """Coordinates, parts and numbers of a cell; its identity is that of the new parts."""
        found = {name: facts[name] for name in (*COORDINATES, *FACTS) if name in facts}
        found["encoder"] = self.encoder_name(str(facts["encoder"]), fingerprint or _of_parts(facts))
        found["parts"] = {name: self._part(name, str(value)) for name, value in facts.get("parts", {}).items()}
        found |= {name: _numbers(found[name]) for name in FACTS if name in found and name != "unit"}
        if (name := facts.get("head", {}).get("name")) in HEADS:
            found["head"]["name"] = name
        of = Cell(
            found["encoder"], facts["dataset"], facts["protocol"], facts["fraction"], facts["seed"], found["parts"]
        )
        return found | {"identity": of.identity}

    def encoder_name(self, name: str, fingerprint: str) -> str:
        """Without the folders of this machine."""
        return without_folders(name, fingerprint)

    def text(self, text: str, where: str) -> str:
        """The text, or that it was withheld and why."""
        if not (found := traces(text, self.known)):
            return text
        self.told(f"withheld, {where}: a text that holds {', '.join(found)}")
        return WITHHELD.format(", ".join(found))

    def _part(self, name: str, value: str) -> str:
        """Digests of data become digests with the salt, and so do texts that identify."""
        return self.salt.fingerprint(value) if name in OF_DATA or traces(value, self.known, name=True) else value

    def _rows(self, one: Predictions) -> tuple[pd.DataFrame, list[str]]:
        """The columns that metrics are computed of, in the order of the pseudonyms; and what is lost with the rest."""
        kept = [c for c in one.rows.columns if c in ROWS or str(c).partition(":")[0] in COLUMNS[one.kind]]
        rows = pd.DataFrame(one.rows[kept])
        dataset = str(one.cell["dataset"])
        rows = rows.assign(
            **{name: self.pseudonyms(dataset, rows[name].tolist()) for name in ("image_id", "patient_id")}
        )
        notes = []
        for label in one.labels if one.kind == "regression" else ():
            if AGE.search(label):
                old = rows[f"target:{label}"].to_numpy(np.float64) > OLDEST
                rows[f"target:{label}"] = np.where(old, np.nan, rows[f"target:{label}"])
                notes += [f"packed: {label} above {OLDEST} counts as unknown ({old.sum()} images)"] if old.any() else []
        if any(str(c).startswith("truth:") for c in one.rows.columns):
            notes.append("packed without the true embeddings, from which a report or an ECG may be guessed: no R²")
        return rows.sort_values("image_id", ignore_index=True, kind="stable"), notes

    def _encoder(self, facts: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The card: names, numbers and sentences without traces."""
        found = {name: facts[name] for name in ENCODER if name in facts}
        for name in ("assumed", "unverified"):
            found |= {name: self._sentences(found[name], where)} if name in found else {}
        for name in ("method", "licence", "citation"):
            found |= {name: self.text(str(found[name]), f"{name} of {where}")} if name in found else {}
        if "pretrained_on" in found:
            found["pretrained_on"] = [self._name(str(name)) for name in found["pretrained_on"]]
        return found

    def _dataset(self, facts: Mapping[str, Any], where: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": facts.get("name", ""),
            "lineage": [self._name(str(name)) for name in facts.get("lineage", ())],
            "licence": self.text(str(facts.get("licence", "")), f"licence of {where}"),
            "notes": self._sentences(facts.get("notes", ()), where),
        }
        found |= {"dropped": int(facts["dropped"])} if facts.get("dropped") else {}
        if "training" in facts:
            found["training"] = [
                {
                    "name": str(one["name"]), "lineage": [self._name(str(name)) for name in one["lineage"]],
                    "licence": self.text(str(one["licence"]), f"licence of {one['name']}"),
                }
                for one in facts["training"]
            ]  # fmt: skip
        return found

    def _made(self, facts: Mapping[str, Any], where: str) -> dict[str, Any]:
        found = {name: facts[name] for name in MADE if name in facts}
        if "device" in found:
            found["device"] = self.text(str(found["device"]), f"device of {where}")
        return found

    def _name(self, name: str) -> str:
        return f"withheld-{self.salt.pseudonym('name', name)[:8]}" if traces(name, self.known, name=True) else name

    def _sentences(self, sentences: Sequence[Any], where: str) -> list[str]:
        return [self.text(str(one), where) for one in sentences]


def _of_parts(facts: Mapping[str, Any]) -> str:
    """An encoder's fingerprint, from the parts of a cell: a cell that is not applicable has no card that says it."""
    parts = {name: value for name, value in facts.get("parts", {}).items() if name not in (*OF_COLUMN, "precision")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _numbers(value: Any) -> Any:
    """What is a number, or a list or mapping of such; anything else inside is left out."""
    if isinstance(value, Mapping):
        return {str(k): _numbers(v) for k, v in value.items() if isinstance(v, (int, float, list, tuple, Mapping))}
    if isinstance(value, (list, tuple)):
        return [_numbers(v) for v in value if isinstance(v, (int, float, list, tuple, Mapping))]
    return value if isinstance(value, (int, float)) else None
