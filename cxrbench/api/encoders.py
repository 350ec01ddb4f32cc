"""One encoder: itself, who it is, and whether it keeps the contract."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.api.given import by_name
from cxrbench.errors import UserError

if TYPE_CHECKING:
    from cxrbench.encoder import Encoder
    from cxrbench.kit.report import PluginReport


EXAMPLE = "./mine.py:Mine"


def load_encoder(spec: str, *, synthetic: bool = False) -> "Encoder":
    """The encoder that a spec names: a torch module in eval mode, weights frozen, with its ``preprocess``.

    ``synthetic``: a bare name may mean weights that are for phantom images only. Raises UserError.
    """
    from cxrbench.engine.registry import load_encoder

    return load_encoder(by_name("the encoder", spec, EXAMPLE), synthetic=synthetic).module


def describe(spec: str) -> dict[str, Any]:
    """Who an encoder is: its card, parameters, GFLOPs per image, feature width, preprocessing, hashes; by name.

    Builds it and runs it on a blank image. Raises UserError.
    """
    from cxrbench.encoder import StoredEncoder
    from cxrbench.engine.registry import load_encoder
    from cxrbench.features.efficiency import measure

    loaded = load_encoder(_named(spec), synthetic=True)
    if isinstance(loaded.module, StoredEncoder):  # nothing to run
        costs = {"feature width": loaded.module.stored_embeddings.pooled.shape[1]}
    else:
        counts = measure(loaded.module, loaded.module.preprocess)
        costs = {"GFLOPs per image": round(counts.gflops_per_image, 3), "feature width": counts.width}
    return {
        "encoder": spec,
        **asdict(loaded.spec.card),
        "parameters": loaded.spec.parameters,
        **costs,
        "preprocessing": loaded.spec.preprocess,
        "weights sha256": loaded.spec.weights_sha256,
        "fingerprint": loaded.spec.fingerprint,
    }


def check_encoder(spec: str, *, golden: Path | str | None = None, device: str = "cpu") -> "PluginReport":
    """What passes and what has to be mended of an encoder, for who writes one: built, and shown phantom images.

    ``golden``: a file of ``store_golden``, to be compared with; by default the one that ships for this encoder.
    ``device``: where: cpu, cuda, cuda:1, or auto for the first GPU; golden features come from a CPU. The
    report has ``ok``, and prints as a table. Raises UserError only where there is no such encoder to look at::

        report = cxrbench.check_encoder("./mine.py:Mine")
        assert report.ok, report
    """
    from cxrbench.engine.registry import load_encoder
    from cxrbench.features.device import chosen_device
    from cxrbench.kit.encoder_checks import check_encoder
    from cxrbench.kit.golden import GoldenFeatures, shipped

    spec = _named(spec)
    _refuse_unknown(spec)
    where = chosen_device(device)
    before = shipped(spec) if golden is None else GoldenFeatures.load(Path(golden))
    return check_encoder(spec, lambda: load_encoder(spec, synthetic=True), before, where)


def store_golden(spec: str, path: Path | str) -> None:
    """Write what an encoder gives here for eight phantom images, with the versions of the libraries, as small JSON.

    ``check_encoder`` compares with it elsewhere. Raises UserError.
    """
    from cxrbench.engine.registry import load_encoder
    from cxrbench.kit.calls import Caller
    from cxrbench.kit.golden import golden_features

    spec = _named(spec)
    _refuse_unknown(spec)
    golden_features(Caller(load_encoder(spec, synthetic=True))).save(Path(path))


def _named(spec: object) -> str:
    """The spec; a published encoder may be named without ``cxr:``, as it is downloaded. Raises UserError."""
    from cxrbench.encoders.families.published.catalogue import catalogue
    from cxrbench.plugins.entry_points import ENCODERS, found

    text = by_name("the encoder", spec, EXAMPLE)
    name = text.partition("@")[0]
    return f"cxr:{text}" if name in catalogue() and name not in found(ENCODERS) else text


def _refuse_unknown(spec: str) -> None:
    """Raise UserError if there is no such encoder, as far as that is seen without loading it."""
    from cxrbench.engine.names import encoder_problem
    from cxrbench.plugins.specs import parse_encoder

    if (problem := encoder_problem(spec)) is not None:
        raise problem
    file = parse_encoder(spec).name
    if file.endswith(".py") and not Path(file).is_file():
        raise UserError(f"no file {file} (looked from {Path.cwd()}); an encoder of your own is FILE.py:CLASS")
