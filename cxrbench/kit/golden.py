"""Golden features: what an encoder gave for eight phantom images, with which versions of the libraries.

They tell "these weights give the same here" from "another version of a library resizes or attends otherwise", which no
score can. Those that ship lie in ``golden_features/``, a small JSON file per encoder that anybody can contribute.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.files.names import safe_name
from cxrbench.files.records import read_record, write_record
from cxrbench.kit.calls import BATCH, Caller, floats
from cxrbench.kit.images import images_sha256, phantom_images
from cxrbench.kit.report import PluginCheck
from cxrbench.plugins.fixed_images import decoded, encoded, relative_change
from cxrbench.plugins.versions import installed_versions

FORMAT = 1
FOLDER = "golden_features"
PUBLISHED = "cxr:"
CHECK = "golden features"


@dataclass(frozen=True, eq=False)
class GoldenFeatures:
    """``pooled`` [8, D] float32 of an encoder with these weights, on these images, with these versions of libraries."""

    encoder: str
    weights_sha256: str
    preprocess: str
    images_sha256: str
    versions: Mapping[str, str]
    pooled: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises UserError if the disk will not."""
        facts = asdict(self) | {"versions": dict(self.versions), "pooled": encoded(self.pooled), "format": FORMAT}
        write_record(path, facts)

    @staticmethod
    def load(path: Path) -> "GoldenFeatures":
        """Read what ``save`` wrote. Raises UserError."""
        try:
            facts = read_record(path, "fetch it again")
            if facts.pop("format") != FORMAT:
                raise UserError(f"{path} was written by another version of cxrbench: store it again")
            return GoldenFeatures(pooled=decoded(facts.pop("pooled"), len(phantom_images())), **facts)
        except FileNotFoundError as error:
            raise UserError(f"no file {path} (looked from {Path.cwd()})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} holds no golden features ({error}): fetch it again") from error


def golden_features(caller: Caller) -> GoldenFeatures:
    """What an encoder gives here for the eight images, in float32 on the CPU. Raises UserError for NaN."""
    numbers = range(len(phantom_images()))
    batches = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    spec = caller.loaded.spec
    pooled = np.concatenate([floats(caller(caller.images(batch)).pooled) for batch in batches])
    if not np.isfinite(pooled).all():
        raise UserError(f"encoder {spec.name} gives NaN for phantom images: `cxrbench encoders check` says more")
    return GoldenFeatures(
        encoder=spec.name,
        weights_sha256=spec.weights_sha256,
        preprocess=spec.preprocess,
        images_sha256=images_sha256(),
        versions=dict(installed_versions()),
        pooled=pooled,
    )


def shipped(encoder: str) -> GoldenFeatures | None:
    """The golden features that ship for an encoder, by its spec; None where nobody has contributed any.

    Those of ``cxr:NAME`` are of one file, wherever it lies: they are those of ``cxr:NAME@FILE``, too.
    """
    name = encoder.partition("@")[0] if encoder.startswith(PUBLISHED) else encoder
    entry = files("cxrbench.kit").joinpath(FOLDER, file_name(name))
    if not entry.is_file():
        return None
    with as_file(entry) as path:
        return GoldenFeatures.load(path)


def file_name(encoder: str) -> str:
    """What the file of an encoder's golden features is called: ``imagenet.json``, ``cxr.rad-dino.json``."""
    return f"{safe_name(encoder.replace(':', '.'))}.json"


def compared(caller: Caller, before: GoldenFeatures | None) -> PluginCheck:
    """Whether an encoder gives here what it gave there, and if not, what differs between here and there."""
    if before is None:
        return PluginCheck(CHECK, "pass", "none are known of this encoder; --store FILE writes them")
    now = golden_features(caller)
    versions = _versions(before.versions, now.versions)
    if now.images_sha256 != before.images_sha256:
        found = f"the phantom is drawn otherwise here, so that nothing can be compared{versions}"
        return PluginCheck(CHECK, "remark", found)
    if now.pooled.shape != before.pooled.shape:
        found = f"{now.pooled.shape[1]} numbers per image here, {before.pooled.shape[1]} there{versions}"
        return PluginCheck(CHECK, "mend", found, "it is another encoder, or another reading of the same weights")
    a, b = (torch.from_numpy(features.pooled).double() for features in (now, before))
    cosine, largest = float(F.cosine_similarity(a, b).min()), float((a - b).abs().max())
    found = f"least cosine {cosine:.7f}, largest difference {largest:.2g}{versions}"
    if relative_change(now.pooled, before.pooled) <= caller.tolerance:
        return PluginCheck(CHECK, "pass", found)
    return PluginCheck(CHECK, "mend", found, _cause(now, before, versions))


def _versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which versions differ, as part of a sentence."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    told = [f"{name} {before.get(name, 'none')} there, {now.get(name, 'none')} here" for name in names]
    return f"; {'; '.join(told)}" if told else "; all library versions are the same"


def _cause(now: GoldenFeatures, before: GoldenFeatures, versions: str) -> str:
    """What to look at first."""
    if now.weights_sha256 != before.weights_sha256:
        return "the weights are others than those: compare files and their sha256"
    if now.preprocess != before.preprocess:
        return f"preprocessing is {now.preprocess}, it was {before.preprocess}"
    if "same" in versions:
        return "weights, preprocessing and versions are the same: look at the encoder's code, then at the hardware"
    return "install the versions that are named one after the other: one of them changed the features"
