"""Building an encoder from a plugin, and holding it to the contract."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxrbench.encoder import (
    Encoder,
    EncoderCard,
    EncoderPlugin,
    EncoderRequest,
    EncoderSpec,
    Features,
    Preprocess,
    StoredEncoder,
    view_codes,
)
from cxrbench.errors import THEIRS, UserError
from cxrbench.plugins.fixed_images import FixedFeatures, fixed_images, sketch
from cxrbench.plugins.identity import (
    configuration,
    configuration_sha256,
    count_parameters,
    files_sha256,
    source_sha256,
    weights_sha256,
)
from cxrbench.plugins.seen import in_known_names
from cxrbench.plugins.sources import USER_FILE, helpers_of, is_library, qualified_name, top_of

CORE = Path(__file__).parents[1]


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready to run: who it is, and the module, in eval mode, its weights frozen, on the CPU.

    ``configuration``: what ``spec.configuration_sha256`` covers, by attribute. ``factory``: what built it. ``reads``:
    the files that decide it beside its code, or None if its plugin does not say.
    """

    spec: EncoderSpec
    module: Encoder
    configuration: Mapping[str, str] = field(default_factory=dict, repr=False)
    factory: Callable[..., Any] | None = None
    reads: tuple[Path, ...] | None = None


def build_encoder(text: str, request: EncoderRequest, plugin: Any) -> LoadedEncoder:
    """Call a plugin and check what comes back. No image is shown to it: see ``fixed_features``.

    ``plugin``: an EncoderPlugin, or a class or function that is called with no argument, or with the path of the
    weights if the spec has ``@WEIGHTS``. Raises UserError.
    """
    factory = plugin.load if isinstance(plugin, EncoderPlugin) else plugin
    if not callable(factory):
        raise UserError(f"encoder {text!r} is a {type(plugin).__name__}, not a class, function or EncoderPlugin")
    arguments: tuple[Any, ...] = (request,)
    if not isinstance(plugin, EncoderPlugin):
        arguments = plain_arguments(text, request, factory)
    try:
        module: Any = factory(*arguments)
    except THEIRS as error:
        if isinstance(error, UserError) and isinstance(plugin, EncoderPlugin):  # its own message says what and where
            raise
        raise UserError(f"encoder {text!r} cannot be built: {blame(error)}") from error
    reads = plugin.reads(request) if isinstance(plugin, EncoderPlugin) and plugin.reads else None
    return identified(text, request, module, factory, None if reads is None else tuple(reads))


def identified(
    text: str,
    request: EncoderRequest,
    module: Any,
    factory: Callable[..., Any],
    reads: tuple[Path, ...] | None = None,
) -> LoadedEncoder:
    """Hold a module to the contract, make it ready, and say who it is. Raises UserError.

    ``factory``: the class or function that made it; ``reads``: as in ``LoadedEncoder``.
    """
    check_module(text, module)
    try:
        module = module.eval().requires_grad_(False)
    except THEIRS as error:
        raise UserError(f"encoder {text!r} cannot be set to eval mode, without gradients: {blame(error)}") from error
    card = getattr(module, "card", None) or EncoderCard(method=type(module).__name__)
    if not isinstance(card, EncoderCard):
        raise UserError(f"encoder {text!r}: its card is a {type(card).__name__}, not a cxrbench EncoderCard")
    if doubt := module.preprocess.doubt:
        card = replace(card, assumed=(*card.assumed, doubt))
    described = configuration(module, request)
    spec = EncoderSpec(
        name=text,
        card=in_known_names(card),
        weights_sha256=weights_sha256(module),
        source_sha256=source_sha256(module, factory),
        preprocess=repr(module.preprocess),
        parameters=count_parameters(module),
        variant="" if isinstance(module, StoredEncoder) else request.variant or "",  # where a file lies tells nothing
        factory=qualified_name(factory),
        configuration_sha256=configuration_sha256(described),
        files_sha256=files_sha256(request),
        by_view=view_codes(module) is not None,
    )
    return LoadedEncoder(spec, module, described, factory, reads)


def plain_arguments(text: str, request: EncoderRequest, factory: Callable[..., Any]) -> tuple[str, ...]:
    """What a plain class or function is called with. Raises UserError if its signature does not take that."""
    if request.variant is not None:
        raise UserError(f"encoder {text!r}: {request.name} has no variants; write {request.name}[@WEIGHTS]")
    arguments = () if request.weights is None else (request.weights,)
    try:
        inspect.signature(factory).bind(*arguments)
    except TypeError as error:
        advice = "it takes no weights" if arguments else "it needs arguments; give weights after an @"
        raise UserError(f"encoder {text!r} cannot be built: {advice} ({error})") from error
    except ValueError:  # no signature to be had
        pass
    return arguments


def check_module(text: str, module: object) -> None:
    """Raise UserError if ``module`` is no nn.Module with a Preprocess."""
    if not isinstance(module, nn.Module):
        raise UserError(f"encoder {text!r} gave a {type(module).__name__}; an encoder is a torch.nn.Module")
    preprocess = getattr(module, "preprocess", None)
    if not isinstance(preprocess, Preprocess):
        what = "has no attribute 'preprocess'" if preprocess is None else f"has preprocess {preprocess!r}"
        raise UserError(f"encoder {text!r} {what}; give it one: preprocess = cxrbench.encoder.Preprocess(size=224)")
    if type(module).forward is nn.Module.forward:
        raise UserError(f"encoder {text!r} has no forward(images) -> Features")


def probe(loaded: LoadedEncoder, shown: Sequence[int] = (0, 1)) -> Features:
    """Show the encoder the two fixed images, or one of them twice, and check what it gives: it costs an encoder call.

    Always in float32 on the CPU, whatever the run is done with; on a GPU if it cannot work elsewhere. Raises UserError
    that names what is missing.
    """
    module: Any = loaded.module
    images = fixed_batch(loaded.module.preprocess)[list(shown)]
    try:
        features = _shown(module, images)
    except THEIRS as error:
        if not torch.cuda.is_available():
            raise UserError(_fails(loaded.spec.name, images, error)) from error
        try:
            features = _shown(module.to("cuda"), images.to("cuda"))
        except THEIRS as again:
            raise UserError(_fails(loaded.spec.name, images, again)) from again
        finally:
            module.to("cpu")
    check_features(loaded.spec.name, features, len(images))
    return features


def fixed_batch(preprocess: Preprocess, device: torch.device | str = "cpu") -> Tensor:
    """The fixed images as an encoder wants them: float32 [2, channels, size, size]."""
    from cxrbench.data.decode.preprocess import prepare

    return torch.stack([prepare(image, preprocess) for image in fixed_images()]).to(device)


def fixed_features(loaded: LoadedEncoder) -> FixedFeatures:
    """What the encoder gives for the fixed images, to be kept beside all that is made with it.

    Raises UserError if an image's features depend on more than the image: chance (dropout, noise), a count of calls, or
    statistics of the batch would make a score depend on the order of the images and on ``--batch-size``.
    """
    together = _floats(loaded, probe(loaded))
    twice = _floats(loaded, probe(loaded, (0, 0)))
    change = max(twice.row(at).change(together.row(0)) for at in (0, 1))
    if change > together.tolerance:
        raise UserError(
            f"encoder {loaded.spec.name!r} gives other features for the same image from call to call, or beside other "
            f"images (by {100 * change:.2g}%): let them depend on that image only, without chance or the batch's mean"
        )
    return together


def _floats(loaded: LoadedEncoder, features: Features) -> FixedFeatures:
    """Features as they are compared."""
    pooled, maps = features
    module: Any = loaded.module
    half = any_half((pooled, *maps, *module.parameters()))
    flat = [m.float().cpu().flatten(1).numpy() for m in maps]
    return FixedFeatures(pooled.float().cpu().numpy(), tuple(map(sketch, flat)), half or pooled.device.type != "cpu")


def any_half(tensors: Iterable[Tensor]) -> bool:
    """Whether one of them has fewer bits than float32."""
    return any(t.is_floating_point() and torch.finfo(t.dtype).bits < 32 for t in tensors)


def _shown(module: Any, images: Tensor) -> Features:
    """One call, which leaves no trace in torch's random numbers."""
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        return module(images)


def _fails(text: str, images: Tensor, error: BaseException) -> str:
    return f"encoder {text!r} fails on images of shape {list(images.shape)}: {blame(error)}"


def check_features(text: str, features: Any, batch: int) -> None:
    """Raise UserError unless ``features`` are Features of ``batch`` images: pooled [B, D], and no or four maps."""
    if not isinstance(features, Features):
        raise UserError(f"encoder {text!r} gives a {type(features).__name__}; forward must return cxrbench Features")
    pooled, maps = features
    fits = isinstance(pooled, Tensor) and pooled.ndim == 2 and len(pooled) == batch and pooled.shape[1] > 0
    if not fits or not pooled.is_floating_point():
        raise UserError(f"encoder {text!r}: pooled is {shape_of(pooled)}; it must be floats [{batch}, D] with D > 0")
    if not isinstance(maps, tuple | list):
        raise UserError(f"encoder {text!r}: maps are a {shape_of(maps)}; there must be a tuple of none or four")
    if len(maps) not in (0, 4) or any(not isinstance(m, Tensor) or m.ndim != 4 or len(m) != batch for m in maps):
        shapes = ", ".join(shape_of(m) for m in maps)
        raise UserError(f"encoder {text!r}: maps are ({shapes}); there must be none, or four of [{batch}, C, H, W]")


def shape_of(value: Any) -> str:
    """A tensor's shape and dtype, or what it is instead."""
    return f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def import_file(path: Path, name: str) -> Any:
    """The object ``name`` of a user's Python file. Modules beside the file may be imported by it.

    The file is code that the user names on the command line: it is run. Its helpers are read anew with it, so that they
    are what the disk holds, and no other user's modules of the same names. Raises UserError with the file and the line.
    """
    if not path.is_file():
        raise UserError(f"no file {path} (looked from {Path.cwd()}); an encoder of your own is FILE.py:CLASS")
    path = path.resolve()
    module_name = f"{USER_FILE}{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    _forget(path)
    sys.modules[module_name] = module  # dataclasses and pickling look their module up
    sys.path.append(str(path.parent))  # last, so that the user's folder shadows nothing installed
    try:
        spec.loader.exec_module(module)
    except THEIRS as error:
        del sys.modules[module_name]
        raise UserError(f"{path} cannot be imported: {blame(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    if not hasattr(module, name):
        classes = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module_name]
        raise UserError(f"{path} has no {name!r}; it defines: {', '.join(classes) or 'nothing callable'}")
    return getattr(module, name)


def _forget(path: Path) -> None:
    """Take modules of the names that a user's file imports from beside it out of the imported ones.

    Only those go that lie beside a user's file that was imported before: what is installed stays.
    """
    tops = {top_of(helper.name) for helper in helpers_of(path)}
    files = {name: file for name, module in sys.modules.items() if (file := getattr(module, "__file__", None))}
    folders = {Path(file).parent for name, file in files.items() if name.startswith(USER_FILE)}
    importlib.invalidate_caches()
    for name in [name for name in files if top_of(name) in tops]:
        file = Path(files[name]).resolve()
        if not is_library(file) and folders & set(file.parents):
            del sys.modules[name]


def blame(error: BaseException) -> str:
    """An exception in one line: type (of a UserError none), message, and file and line.

    The line is the innermost one of code that is no library's and not cxrbench's, for that can be mended; where there
    is none, the innermost of all.
    """
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if _is_theirs(frame.filename)), frames[-1] if frames else None)
    where = f" ({place.filename}, line {place.lineno})" if place else ""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{text}{where}" if isinstance(error, UserError) else f"{type(error).__name__}: {text}{where}"


def _is_theirs(file: str) -> bool:
    """Whether code is neither a library's nor of cxrbench's core."""
    path = Path(file)
    return not file.startswith("<") and not path.is_relative_to(CORE) and not is_library(path)
