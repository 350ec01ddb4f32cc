"""What protocols that can follow a paper's recipe have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cxrbench.data.manifest import Manifest
from cxrbench.task import Task
from cxrbench.tasks.presets import data as preset_data
from cxrbench.tasks.presets.recipes import parse, preset_for


@dataclass(frozen=True, kw_only=True)
class PresetTask(Task):
    """A protocol that is trained by its own recipe or by a paper's. ``section``: the preset's table that it follows."""

    section: str
    preset: str | None = None

    @property
    def preset_setting(self) -> tuple[str, ...]:
        """``preset-spcl``, or nothing."""
        return () if self.preset is None else (parse(self.preset).suffix,)

    @property
    def version(self) -> str:
        """Part of every cell's identity; with a preset, so is the preset's file."""
        if self.preset is None:
            return self.revision
        text = (files("cxrbench.tasks") / "presets" / f"{parse(self.preset).name}.toml").read_bytes()
        return f"{self.revision}, preset {hashlib.sha256(text).hexdigest()[:12]}"

    def adapted(self, manifest: Manifest) -> Manifest:
        """The dataset as the preset splits and reads it."""
        return manifest if self.preset is None else preset_data.adapted(manifest, self.preset, self.section)

    def paper_settings(self, dataset: str, fraction: float | None) -> Mapping[str, Any]:
        """What the preset says of a dataset at a label fraction; nothing without one.

        Raises NotApplicableError where the paper has no such protocol.
        """
        return {} if self.preset is None else preset_for(self.preset, self.section, dataset, fraction)

    def told(self, dataset: str, fraction: float | None) -> tuple[str, ...]:
        """What the preset wants to be told with the results."""
        settings = self.paper_settings(dataset, fraction)
        return (str(settings["note"]),) if "note" in settings else ()
