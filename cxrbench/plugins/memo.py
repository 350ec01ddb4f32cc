"""What was learnt of an encoder the last time, so that a finished run need not build it, nor wait for torch.

A memo names every file that decided the encoder (its code, its weights), by size, time and content, and the versions of
the libraries. While all of them hold, the encoder is the same. Only plugins that say what they ``read`` are remembered:
a user's own file may look at anything, so it is built and shown the fixed images every time.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.encoder import EncoderCard, EncoderSpec, Preprocess
from cxrbench.errors import UserError
from cxrbench.files.records import read_record, write_record
from cxrbench.plugins.entry_points import ENCODERS, found
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.stamps import Stamp, holds, stamp
from cxrbench.plugins.versions import installed_versions

if TYPE_CHECKING:
    from cxrbench.plugins.loading import LoadedEncoder

FORMAT = 1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder that has been built before: who it is, how it wants images, and what it gave for the fixed ones."""

    spec: EncoderSpec
    preprocess: Preprocess
    fixed: FixedFeatures


def recall(cache: Path, text: str, *, synthetic: bool) -> KnownEncoder | None:
    """What is known of the encoder ``text``, or None if that is nothing, or if any file or library has changed."""
    try:
        facts = read_record(_path(cache, text, synthetic))
        stamps = [Stamp(**one) for one in facts["stamps"]]
        if facts["rests on"] != _rests_on(text) or not all(map(holds, stamps)):
            return None
        said = facts["spec"]["card"]
        card: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        numbers = {name: tuple(facts["preprocess"][name]) for name in ("mean", "std")}
        return KnownEncoder(
            EncoderSpec(**facts["spec"] | {"card": EncoderCard(**card)}),
            Preprocess(**facts["preprocess"] | numbers),
            FixedFeatures.from_json(facts["fixed"]),
        )
    except (
        OSError,
        UserError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # none, or damaged: built again
        return None


def remember(cache: Path, loaded: "LoadedEncoder", fixed: FixedFeatures, *, synthetic: bool) -> None:
    """Keep what is known of an encoder whose plugin says what it reads. A cache that cannot be written stays so."""
    if loaded.reads is None or loaded.factory is None:
        return
    from cxrbench.plugins.sources import factory_files, followed, is_library

    network: Any = loaded.module
    starts = factory_files(loaded.factory, {type(part) for part in network.modules()})
    code = [source.path for source in followed(starts, lambda source: not is_library(source.path))]
    try:
        stamps = [stamp(file) for path in (*code, *loaded.reads) for file in _files(path)]
        facts = {
            "spec": asdict(loaded.spec), "preprocess": asdict(loaded.module.preprocess), "fixed": fixed.to_json(),
            "stamps": [asdict(one) for one in stamps], "rests on": _rests_on(loaded.spec.name),
        }  # fmt: skip
        write_record(_path(cache, loaded.spec.name, synthetic), facts)
    except (UserError, OSError) as error:
        log.info("%s is not remembered: %s", loaded.spec.name, error)


def forget(cache: Path, text: str, *, synthetic: bool) -> None:
    """Make sure that the encoder is built and looked at the next time."""
    with suppress(OSError):
        _path(cache, text, synthetic).unlink(missing_ok=True)


def _path(cache: Path, text: str, synthetic: bool) -> Path:
    name = hashlib.sha256(json.dumps([text, synthetic, str(Path.cwd())]).encode()).hexdigest()
    return cache / "encoders" / f"{name[:32]}.json"


def _rests_on(text: str) -> Mapping[str, Any]:
    """What is not in a file of its own: the libraries, and which plugin has the name."""
    name = text.strip().partition("@")[0].partition(":")[0]
    points = sorted(point.value for point in found(ENCODERS).get(name, ()))
    return {"format": FORMAT, "versions": dict(installed_versions()), "plugin": points}


def _files(path: Path) -> list[Path]:
    """A file, or every file in a folder."""
    return [path] if not path.is_dir() else sorted(file for file in path.rglob("*") if file.is_file())
