"""Where an encoder, or a sentence, looks in images that belong to no cell."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.api.looking.classified import LookedCase, LookedMap
from cxrbench.errors import NotApplicableError, UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from cxrbench.encoder import Preprocess

    Ask = Callable[[Tensor], Tensor]
    """From a prepared image [1, channels, size, size] to maps [n, rows, columns]."""


def attend(
    encoder: str, images: Sequence[Path | str], sentences: Sequence[str] = (), *, device: str = "auto"
) -> list[LookedCase]:
    """Each image with a map for each sentence or, where none is given, one of where the encoder looks (rollout).

    ``encoder``: a spec, e.g. ``spcl``, ``hf:microsoft/rad-dino``; for sentences one whose training learnt where they
    look (``fane@RUN/last.ckpt``), of one report if its text encoder reads them together. ``images``: files. Raises
    UserError, and BadImageError for a file that cannot be read::

        case = cxrbench.api.attend("fane@runs/fane/last.ckpt", ["scan.dcm"], ["There is a left pneumothorax."])[0]
    """
    import torch

    from cxrbench.data.decode.images import decode
    from cxrbench.data.decode.preprocess import prepare
    from cxrbench.engine.registry import any_phantom
    from cxrbench.features.device import resolve_device

    paths = [Path(image).expanduser() for image in images]
    if not paths:
        raise UserError("which images? Name at least one file")
    place = resolve_device(device)
    if sentences:
        preprocess, ask, how = *_of_sentences(encoder, sentences, place), "sentence"
    else:
        preprocess, ask, how = *_of_encoder(encoder, any_phantom(paths), place), "rollout"
    cases = []
    for path in paths:
        image = decode(path)
        try:
            with torch.inference_mode():
                found = ask(prepare(image, preprocess)[None].to(place)).double().cpu().numpy()
        except NotApplicableError as why:
            raise UserError(f"{encoder}: {why}") from why
        native = (image.shape[0], image.shape[1])
        cases.append(LookedCase(image, None, tuple(LookedMap(one, how, preprocess, native) for one in found)))
    return cases


def _of_encoder(encoder: str, synthetic: bool, place: "torch.device") -> "tuple[Preprocess, Ask]":
    """Rollout. Raises UserError for an encoder that has none."""
    from cxrbench.engine.registry import load_encoder
    from cxrbench.looking.look import rollout_problem
    from cxrbench.looking.rollout import rollout

    module = load_encoder(encoder, synthetic=synthetic).module
    if problem := rollout_problem(module):
        raise UserError(
            f"{encoder}: {problem}; `cxrbench show DATASET:classification --encoder {encoder}` follows a label back"
        )
    module.to(place)  # type: ignore[attr-defined]
    return module.preprocess, lambda images: rollout(module.attentions(images))  # type: ignore[attr-defined]


def _of_sentences(encoder: str, sentences: Sequence[str], place: "torch.device") -> "tuple[Preprocess, Ask]":
    """A map per sentence. Raises UserError for an encoder that has no attention of sentences."""
    from cxrbench.encoder import EncoderPlugin
    from cxrbench.plugins.entry_points import ENCODERS, load_plugin
    from cxrbench.plugins.specs import parse_encoder

    request = parse_encoder(encoder)
    plugin = None if request.name.endswith(".py") else load_plugin(ENCODERS, request.name, "encoder")
    if not isinstance(plugin, EncoderPlugin) or plugin.sentences is None:
        raise UserError(f"{encoder} has learnt no attention of sentences: leave them out, or take fane@RUN/last.ckpt")
    opened = plugin.sentences(request)
    opened.to(place)  # type: ignore[attr-defined]
    return opened.preprocess, lambda images: opened.attend(images, sentences)[0]
