"""Where the weights of published encoders lie on this machine."""

import os
from pathlib import Path

from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.files.names import WEIGHTS


def encoders_folder() -> Path:
    """Where ``cxrbench encoders download`` puts them: CXRBENCH_ENCODERS, else the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get("CXRBENCH_ENCODERS")
    return Path(named).expanduser() if named else user_data_path("cxrbench") / "encoders"


def folder_of(entry: PublishedEncoder) -> Path:
    """The folder of one encoder, there or not."""
    return encoders_folder() / entry.name


def found_here(entry: PublishedEncoder) -> Path | None:
    """Its file, or its folder where that holds a repository; None if it is not here.

    A file of another name than the published one counts where it is the only one with weights.
    """
    folder = folder_of(entry)
    if not folder.is_dir():
        return None
    if entry.loader in ("hf", "chexagent") or (entry.loader == "open_clip" and entry.id.startswith("hf-hub:")):
        return folder if (folder / "config.json").is_file() or any(folder.glob("*.safetensors")) else _bare(folder)
    if (folder / entry.file).is_file() and entry.file:
        return folder / entry.file
    files = [f for f in sorted(folder.iterdir()) if f.suffix in WEIGHTS or f.name.endswith(".pth.tar")]
    return files[0] if len(files) == 1 else None


def _bare(folder: Path) -> Path | None:
    """A folder in open_clip's layout."""
    return folder if (folder / "open_clip_config.json").is_file() else None


def in_hub_cache(entry: PublishedEncoder) -> bool:
    """Whether the hub's own cache has something of its repository."""
    repository = repository_of(entry)
    if not repository:
        return False
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir()


def repository_of(entry: PublishedEncoder) -> str:
    """The hub repository that holds it; "" where there is none."""
    if entry.loader == "timm":
        return f"timm/{entry.id}"
    repository = entry.id.removeprefix("hf-hub:")
    return repository if "/" in repository else ""
