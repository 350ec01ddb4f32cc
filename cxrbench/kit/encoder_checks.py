"""What ``cxrbench encoders check`` looks at, one thing after the other, each with an advice that mends it."""

from collections.abc import Callable

from cxrbench.encoder import Features, StoredEncoder
from cxrbench.errors import THEIRS, UserError
from cxrbench.kit import behaviour
from cxrbench.kit.calls import BATCH, Caller
from cxrbench.kit.cost import cost, peak_memory
from cxrbench.kit.golden import CHECK, GoldenFeatures, compared
from cxrbench.kit.report import PluginCheck, PluginReport, verdict
from cxrbench.kit.towers import card, maps, text_tower
from cxrbench.plugins.loading import LoadedEncoder, blame

FAINT = 0.05
"""A deviation below which hardly anything is left of an image: std is on another scale than the images."""
FIRST = "mend this first: nothing more can be looked at before"


def check_encoder(
    spec: str, load: Callable[[], LoadedEncoder], golden: GoldenFeatures | None = None, device: str = "cpu"
) -> PluginReport:
    """Build an encoder, show it phantom images, and say what passes and what to mend; nothing is raised for its faults.

    ``load`` builds it, each time anew. ``golden``: what it gave elsewhere. ``device``: torch's
    name of one that is there.
    """
    try:
        loaded = load()
    except UserError as error:
        return PluginReport(spec, (PluginCheck("build", "mend", str(error), FIRST),))
    if isinstance(loaded.module, StoredEncoder):
        return _of_file(spec, loaded, loaded.module)
    try:
        caller = Caller(loaded, device)
    except THEIRS as error:
        found = f"it cannot be moved to {device}: {blame(error)}"
        return PluginReport(spec, (PluginCheck("build", "mend", found, "let every tensor be a parameter or buffer"),))
    before = peak_memory()
    checks = [
        PluginCheck("build", "pass", f"{type(loaded.module).__name__}, {loaded.spec.parameters:,} parameters"),
        _tried("same when built again", lambda: _again(loaded, load)),
        _tried("preprocessing", lambda: _preprocessing(caller)),
    ]
    try:
        seen = caller(caller.images(range(BATCH)))
    except UserError as error:
        checks.append(PluginCheck("contract", "mend", str(error), _contract_advice(str(error))))
    except THEIRS as error:
        shape = [BATCH, caller.preprocess.channels, caller.preprocess.size, caller.preprocess.size]
        checks.append(
            PluginCheck("contract", "mend", f"it fails on images {shape}: {blame(error)}", f"forward(images): {FIRST}")
        )
    else:
        checks += _of_calls(caller, seen, golden)
    checks.append(card(loaded))
    facts = cost(caller, peak_memory() - before)
    return PluginReport(spec, tuple(checks), facts)


def _of_file(spec: str, loaded: LoadedEncoder, module: StoredEncoder) -> PluginReport:
    """Of a file of embeddings: that it could be read says that it is in order; what it cannot say is its card."""
    table = module.stored_embeddings
    found = f"{len(table.images):,} images, {table.pooled.shape[1]:,} numbers each"
    found += f"; maps of {', '.join(str(m.shape[-1]) for m in table.maps)} cells a side" if table.maps else "; no maps"
    found += f"; {len(table.texts):,} texts" if table.texts else "; no texts"
    return PluginReport(spec, (PluginCheck("file", "pass", found), card(loaded)))


def _of_calls(caller: Caller, seen: Features, golden: GoldenFeatures | None) -> list[PluginCheck]:
    """All that an encoder that keeps the contract is asked."""
    shapes = ", ".join(str(list(m.shape[1:])) for m in seen.maps)
    said = f"pooled [{BATCH}, {seen.pooled.shape[1]}], maps {shapes or 'none'}"
    sizes = _tried("two batch sizes", lambda: behaviour.batch_sizes(caller, seen), behaviour.ANY_NUMBER)
    kept = [PluginCheck("contract", "pass", said), sizes]
    if sizes.state == "mend":  # all that follows shows one image alone, too, and would say the same
        return kept
    may_be_threaded = vars(type(caller.module)).get("thread_safe")
    return [
        *kept,
        behaviour.dtype(seen),
        behaviour.finite(caller, seen),
        behaviour.telling(seen),
        _tried("images", lambda: behaviour.leaves_images(caller)),
        _tried("determinism", lambda: behaviour.determinism(caller, seen)),
        _tried("batch independence", lambda: behaviour.independence(caller, seen)),
        *([_tried("threads", lambda: behaviour.threads(caller, seen))] if may_be_threaded else []),
        behaviour.eval_mode(caller),
        _tried("gradients", lambda: behaviour.gradients(caller)),
        *maps(caller, seen),
        _tried(CHECK, lambda: compared(caller, golden)),
        _tried("text tower", lambda: text_tower(caller)),
    ]


def _tried(name: str, look: Callable[[], PluginCheck], advice: str = "mend what is named") -> PluginCheck:
    """What ``look`` finds; where the encoder fails meanwhile, that, with an ``advice``."""
    try:
        return look()
    except UserError as error:
        return PluginCheck(name, "mend", str(error), advice)
    except THEIRS as error:
        return PluginCheck(name, "mend", f"it fails: {blame(error)}", advice)


def _again(loaded: LoadedEncoder, load: Callable[[], LoadedEncoder]) -> PluginCheck:
    then, now = loaded.spec.parts, load().spec.parts
    changed = [name for name in then if then[name] != now[name]]
    return verdict(
        "same when built again", not changed, f"other {', '.join(changed)}" if changed else "the same identity",
        "give what is random in it a seed of its own (torch.Generator), and its attributes values that stay",
    )  # fmt: skip


def _preprocessing(caller: Caller) -> PluginCheck:
    name, wanted, values = "preprocessing", caller.preprocess, caller.images(range(BATCH))
    mean = float(values.mean())
    spread = float(values.std(dim=(0, 2, 3)).mean())  # of each channel: means that differ are no contrast
    found = f"phantom images have mean {mean:.2f} and deviation {spread:.2g} afterwards"
    if not all(0 <= m <= 1 for m in wanted.mean) or spread < FAINT or abs(mean) > max(3.0, spread):
        return PluginCheck(
            name, "mend", found,
            "images come in [0, 1] and leave as (x - mean) / std: give both on that scale (those of 0..255 by 255)",
        )  # fmt: skip
    usual = abs(mean) <= min(1, 2 * spread) and 0.2 <= spread <= 5
    return verdict(name, usual, found, "unusual: compare mean and std with the encoder's own code", "remark")


def _contract_advice(found: str) -> str:
    if "pooled is" in found:
        return "pooled is one vector of floats per image: average over what else there is, e.g. x.mean((2, 3))"
    if "maps are" in found:
        return "give four maps of [B, C, H, W], from high to low resolution, or none: Features(pooled)"
    return "forward returns cxrbench.encoder.Features(pooled=..., maps=...)"
