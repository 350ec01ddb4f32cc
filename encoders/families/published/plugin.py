"""``cxr:NAME[@FILE]``: a published encoder by its name, with the preprocessing that its authors used."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cxrbench.encoder import Encoder, EncoderCard, EncoderPlugin, EncoderRequest, Preprocess, named_weights
from cxrbench.encoders.families.published.catalogue import published
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.encoders.families.published.places import folder_of, found_here, repository_of
from cxrbench.encoders.families.published.recognised import differing
from cxrbench.encoders.sidecar import IMAGES, WeightsSidecar, read_sidecar, told
from cxrbench.errors import UserError
from cxrbench.files.digests import file_sha256

Loader = Callable[[PublishedEncoder, Path | None], Any]
LAYOUTS: Mapping[str, tuple[str, str]] = {
    "vit": ("vit", "load"), "jepa": ("vit", "load"), "chexagent": ("vit", "load_giant"), "resnet": ("resnet", "load"),
    "densenet": ("densenet", "load"), "biovil": ("biovil", "load"), "eva": ("timm_models", "load_eva"),
    "swin": ("timm_models", "load_swin"), "dinov2": ("timm_models", "load_dinov2"),
}  # fmt: skip
"""Loaders of files: a module of ``layouts``, and what it calls the function."""
FETCHED = ("eva", "resnet", "biovil")  # layouts whose file the hub gives, where the entry has a repository


def load(request: EncoderRequest) -> Encoder:
    """The encoder of a name, from what follows the ``@``, from where downloads are kept, or from the hub."""
    if not request.variant:
        raise UserError("cxr takes a name: cxr:NAME[@FILE]; `cxrbench encoders list --published` shows them")
    entry = published(request.variant)
    path = Path(request.weights).expanduser() if request.weights else found_here(entry)
    if path is not None and not path.exists():
        raise UserError(f"{entry.spec}@{request.weights}: there is no such file or folder")
    encoder: Any = FAMILIES.get(entry.loader, _of_layout)(entry, path)
    own, sidecar = encoder.preprocess, WeightsSidecar(Path(), {})
    if path is not None:
        from cxrbench.encoders.families.shown import check_shown

        sidecar = read_sidecar(path)
        if entry.loader != "hf":  # which reads what can be read in several ways
            sidecar.of_one_pooling()
        encoder.preprocess = sidecar.applied(own)
        check_shown(sidecar, encoder, own)
    encoder.card = told(sidecar, entry.preprocess, _card(entry, own, path, sidecar), known=IMAGES)
    encoder.said = sorted(map(str, sidecar.said.items()))  # a part of its identity wherever the file was found
    return encoder


def _card(entry: PublishedEncoder, own: Preprocess, path: Path | None, sidecar: WeightsSidecar) -> EncoderCard:
    """The entry's card, and in its ``assumed`` what nobody could verify or what the files contradict."""
    assumed = [*differing(entry, own, sidecar.said)]
    if "preprocessing" in entry.unverified and not _says_itself(entry, path):
        assumed.append("its preprocessing is not verified")
    if sidecar.pooling and not entry.pooling.lower().startswith(sidecar.pooling):
        assumed.append(f"{sidecar.path.name} says pooling {sidecar.pooling} in place of the published: {entry.pooling}")
    if "pretrained_on" in entry.unverified and "pretrained_on" not in sidecar.said:
        assumed.append("which data sets it was pretrained on is not verified")
    if path is not None and path.is_file() and entry.sha256 and not file_sha256(path).startswith(entry.sha256):
        assumed.append(f"{path.name} is taken for {entry.title}: the sha256 of the published file is another")
    return replace(entry.card, assumed=tuple(assumed))


def _says_itself(entry: PublishedEncoder, path: Path | None) -> bool:
    """Whether files beside the weights say how images are prepared."""
    return entry.loader == "hf" or entry.id.startswith("hf-hub:") or (entry.loader == "timm" and path is None)


def _of_layout(entry: PublishedEncoder, path: Path | None) -> Any:
    module, name = LAYOUTS[entry.loader]
    file = path if path is not None else _fetched(entry)
    if file.is_dir() and entry.loader != "chexagent":
        file = file / entry.file
    return getattr(import_module(f"cxrbench.encoders.families.layouts.{module}"), name)(entry, file)


def _fetched(entry: PublishedEncoder) -> Path:
    """The file from the hub. Raises UserError where it is not to be had there."""
    if entry.loader not in FETCHED or not repository_of(entry) or not entry.file:
        raise not_here(entry)
    from huggingface_hub import hf_hub_download

    from cxrbench.encoders.families.hub import hub

    try:
        with hub():
            return Path(hf_hub_download(entry.id, entry.file, revision=entry.revision or None))
    except Exception as error:  # the hub's client raises a dozen kinds
        raise not_here(entry) from error


def _of_hub(entry: PublishedEncoder, path: Path | None) -> Any:
    from cxrbench.encoders.families import hf

    try:
        return hf.build(str(path) if path else entry.id, entry.revision or None)
    except UserError as error:
        raise (error if path else not_here(entry)) from error


def _of_timm(entry: PublishedEncoder, path: Path | None) -> Any:
    from cxrbench.encoders.families import timm
    from cxrbench.encoders.families.layouts.timm_models import load_timm

    if path is not None:
        return load_timm(entry, path)
    try:
        return timm.load(EncoderRequest("timm", entry.id, None))
    except UserError as error:
        raise not_here(entry) from error


def _of_open_clip(entry: PublishedEncoder, path: Path | None) -> Any:
    from cxrbench.encoders.families import open_clip

    if entry.id.startswith(open_clip.HUB):
        try:
            encoder = open_clip.load(EncoderRequest("open_clip", str(path or entry.id), None))
        except UserError as error:
            raise (error if path else not_here(entry)) from error
        return encoder
    if path is None:
        raise not_here(entry)
    encoder = open_clip.load(EncoderRequest("open_clip", entry.id, str(path)))
    encoder.preprocess = entry.preprocess  # open_clip's is that of natural images
    return encoder


def _of_radjepa(entry: PublishedEncoder, path: Path | None) -> Any:
    from cxrbench.encoders.radjepa import encoder as radjepa

    try:
        return radjepa.load(EncoderRequest("radjepa", None, str(path or entry.id)))
    except UserError as error:
        raise (error if path else not_here(entry)) from error


FAMILIES: Mapping[str, Loader] = {
    "hf": _of_hub, "timm": _of_timm, "open_clip": _of_open_clip, "radjepa": _of_radjepa,
}  # fmt: skip


def not_here(entry: PublishedEncoder) -> UserError:
    """The weights are neither here nor to be fetched: what to do."""
    gated = " (gated: accept its terms there first)" if entry.gated else ""
    return UserError(
        f"{entry.spec} ({entry.title}) has no weights here{gated}: `cxrbench encoders download {entry.name}` says how "
        f"to get them into {folder_of(entry)}; or name them, {entry.spec}@{'FILE' if entry.file else 'FOLDER'}"
    )


PLUGIN = EncoderPlugin(
    load=load,
    summary="published encoders by name, with their preprocessing and card; `encoders list --published`",
    usage="cxr:NAME[@FILE-OR-FOLDER]",
    reads=named_weights,
)
