"""RadJEPA as an encoder: our files, weights as published (a file, a folder, the Hugging Face hub), and I-JEPA's."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from huggingface_hub import hf_hub_download
from torch import Tensor

from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import KEY, TrainedBackbone, read_encoder
from cxrbench.encoders.backbones.encoder import Pooling, ViTEncoder, encoder_of, how_to_pretrain, parse_pooling
from cxrbench.encoders.backbones.vit import ViTConfig, infer_config
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.families.published.recognised import card_of
from cxrbench.encoders.families.shown import check_shown
from cxrbench.encoders.sidecar import read_sidecar, told
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import first_line, read_checkpoint, read_metadata
from cxrbench.files.containers import strip_prefixes, unwrap

REPOSITORY = "AIDElab-IITBombay/RadJEPA"
FILE = "jepa_encoder.pth.tar"
WITHOUT_WEIGHTS = f"{how_to_pretrain('radjepa')}; or take the published ones, radjepa@{REPOSITORY}"
LAYOUTS = (("state_dict", "target_encoder"), ("state_dict", "encoder"))  # keys to descend by, the better first


def load(request: EncoderRequest) -> ViTEncoder:
    """``radjepa[:POOLING]@WEIGHTS``: our encoder.safetensors or .ckpt, RadJEPA's file, folder or repository, I-JEPA's.

    Pooled: the mean of the patch tokens after the last norm, or mean and deviation, as the sidecar of a file of others
    may say, too; there is no CLS token.
    """
    if parse_pooling(request, "mean") == "cls":
        raise UserError(f"{request.name}:cls: radjepa has no CLS token: leave out cls, or pass mean+sd")
    if request.weights is None:
        raise UserError(f"radjepa has no weights for real images: {WITHOUT_WEIGHTS}")
    path = locate(request.weights)
    sidecar = read_sidecar(path)
    pooling = parse_pooling(request, cast(Pooling, sidecar.pooling or "mean"))
    if pooling == "cls":
        raise UserError(f"{sidecar.path}: pooling = 'cls', but radjepa has no CLS token: leave it out, or say mean+sd")
    found = read_jepa(path)
    encoder = encoder_of(found, path, pooling)
    if found.preprocess is not None:  # ours, and nothing stands beside it
        return encoder
    own = encoder.preprocess
    encoder.preprocess, encoder.card = sidecar.applied(own), told(sidecar, own, encoder.card)
    check_shown(sidecar, encoder, own)
    return encoder


def locate(weights: str) -> Path:
    """The file that is meant: a path, a folder with the published file, or the name of its repository, in any case.

    Raises UserError where the folder has no such file and where it cannot be fetched.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        if not (path / FILE).is_file():
            raise UserError(f"{path} is a folder without {FILE}: name a file of weights in it")
        return path / FILE
    if path.exists() or weights.lower() != REPOSITORY.lower():
        return path
    try:
        with hub():
            return Path(hf_hub_download(REPOSITORY, FILE))
    except Exception as error:  # the hub's client raises a dozen kinds
        raise UserError(
            f"cannot fetch {REPOSITORY} ({type(error).__name__}: {first_line(error)}); without network, fetch it "
            f"elsewhere with `hf download {REPOSITORY} --local-dir FOLDER` and pass radjepa@FOLDER"
        ) from error


def read_jepa(path: Path) -> TrainedBackbone:
    """A file of ours, or one of others with a ViT that has no CLS token. Raises UserError.

    The published file, known by its name, brings its card: which images it has seen. Channels are taken to be
    normalised with ImageNet's numbers, as I-JEPA's are; RadJEPA's authors do not say, and the card tells it.
    """
    if KEY in read_metadata(path):
        ours = read_encoder(path, "radjepa")
        found = TrainedBackbone(ours.state, ViTConfig(**ours.architecture or {}), ours.preprocess, ours.card)
    else:
        card = EncoderCard("radjepa")
        if path.name == FILE:
            card = replace(card_of("radjepa", REPOSITORY, "RadJEPA"), assumed=("taken for RadJEPA by its file's name",))
        state = published_state(path)
        found = TrainedBackbone(state, infer_config(state, path), None, card)
    if found.config.class_token:
        raise UserError(f"{path} holds a ViT with cls_token, and radjepa's has none: pass radjepa or I-JEPA weights")
    return found


def published_state(path: Path) -> dict[str, Tensor]:
    """timm's names to tensors: under ``target_encoder``, which is what I-JEPA evaluates, else under ``encoder``.

    Both may lie under ``state_dict``; ``module.`` and ``encoder.`` before every name are stripped; predictors and
    optimizer states are passed over. Raises UserError if there is neither.
    """
    content = read_checkpoint(path)
    for keys in LAYOUTS:
        try:
            return strip_prefixes(unwrap(content, keys), ("module.", "encoder."))
        except KeyError:
            continue
    has = ", ".join(map(str, list(content)[:8])) or "nothing"
    raise UserError(f"{path} has no weights under target_encoder or encoder; it contains: {has}; save one of them")
