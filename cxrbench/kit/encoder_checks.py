"""What ``cxrbench encoders check`` looks at, one thing after the other, each with an advice that mends it."""

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cxrbench.encoder import Features, StoredEncoder
from cxrbench.errors import THEIRS, UserError
from cxrbench.files.names import some
from cxrbench.kit.calls import Caller, change, row
from cxrbench.kit.golden import CHECK, GoldenFeatures, compared
from cxrbench.kit.report import PluginCheck, PluginReport, State
from cxrbench.kit.towers import card, maps, text_tower
from cxrbench.plugins.loading import LoadedEncoder, blame

BATCH = 4


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
        return PluginReport(spec, (PluginCheck("build", "mend", str(error), "nothing more can be looked at before"),))
    if isinstance(loaded.module, StoredEncoder):
        return _of_file(spec, loaded, loaded.module)
    try:
        caller = Caller(loaded, device)
    except THEIRS as error:
        found = f"it cannot be moved to {device}: {blame(error)}"
        return PluginReport(spec, (PluginCheck("build", "mend", found, "let every tensor be a parameter or buffer"),))
    before = _peak_memory()
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
            PluginCheck("contract", "mend", f"it fails on images {shape}: {blame(error)}", "mend its forward(images)")
        )
    else:
        checks += [*_of_calls(caller, seen), _tried(CHECK, lambda: compared(caller, golden))]
    checks += [_tried("text tower", lambda: text_tower(caller)), card(loaded)]
    facts = _cost(caller, _peak_memory() - before)
    return PluginReport(spec, tuple(checks), facts)


def _of_file(spec: str, loaded: LoadedEncoder, module: StoredEncoder) -> PluginReport:
    """Of a file of embeddings: that it could be read says that it is in order; what it cannot say is its card."""
    table = module.stored_embeddings
    found = f"{len(table.images):,} images, {table.pooled.shape[1]:,} numbers each"
    found += f"; maps of {', '.join(str(m.shape[-1]) for m in table.maps)} cells a side" if table.maps else "; no maps"
    found += f"; {len(table.texts):,} texts" if table.texts else "; no texts"
    return PluginReport(spec, (PluginCheck("file", "pass", found), card(loaded)))


def _of_calls(caller: Caller, seen: Features) -> list[PluginCheck]:
    """All that an encoder that keeps the contract is asked."""
    shapes = ", ".join(str(list(m.shape[1:])) for m in seen.maps)
    said = f"pooled [{BATCH}, {seen.pooled.shape[1]}], maps {shapes or 'none'}"
    return [
        PluginCheck("contract", "pass", said),
        _dtype(seen),
        _finite(caller, seen),
        _tried("two batch sizes", lambda: _batch_sizes(caller, seen)),
        _tried("determinism", lambda: _determinism(caller, seen)),
        _tried("batch independence", lambda: _independence(caller, seen)),
        *([_tried("threads", lambda: _threads(caller, seen))] if vars(type(caller.module)).get("thread_safe") else []),
        _eval_mode(caller),
        _tried("gradients", lambda: _gradients(caller)),
        *maps(caller, seen),
    ]


def _tried(name: str, look: Callable[[], PluginCheck]) -> PluginCheck:
    """What ``look`` finds; where the encoder fails meanwhile, that."""
    try:
        return look()
    except UserError as error:
        return PluginCheck(name, "mend", str(error))
    except THEIRS as error:
        return PluginCheck(name, "mend", f"it fails: {blame(error)}")


def _verdict(name: str, good: bool, found: str, advice: str, otherwise: State = "mend") -> PluginCheck:
    return PluginCheck(name, "pass" if good else otherwise, found, "" if good else advice)


def _again(loaded: LoadedEncoder, load: Callable[[], LoadedEncoder]) -> PluginCheck:
    then, now = loaded.spec.parts, load().spec.parts
    changed = [name for name in then if then[name] != now[name]]
    return _verdict(
        "same when built again", not changed, f"other {', '.join(changed)}" if changed else "the same identity",
        "give what is random in it a seed of its own (torch.Generator), and its attributes values that stay",
    )  # fmt: skip


def _preprocessing(caller: Caller) -> PluginCheck:
    name, wanted = "preprocessing", caller.preprocess
    for attribute in ("mean", "std"):
        count = len(getattr(wanted, attribute))
        if count not in (1, wanted.channels):
            found = f"{attribute} has {count} numbers for {wanted.channels} channel(s)"
            return PluginCheck(name, "mend", found, f"give one number, or {wanted.channels}")
    if min(wanted.std) <= 0:
        return PluginCheck(name, "mend", f"std is {wanted.std}", "give what images are divided by: above 0")
    values = caller.images(range(BATCH))
    mean, spread = float(values.mean()), float(values.std())
    found = f"phantom images have mean {mean:.2f} and deviation {spread:.2f} afterwards"
    if abs(mean) > max(3.0, spread):
        return PluginCheck(
            name, "mend", found,
            "images come in [0, 1] and leave as (x - mean) / std: give both on that scale (those of 0..255 by 255)",
        )  # fmt: skip
    usual = abs(mean) <= 1 and 0.2 <= spread <= 5
    return _verdict(name, usual, found, "unusual: compare mean and std with the encoder's own code", "remark")


def _contract_advice(found: str) -> str:
    if "pooled is" in found:
        return "pooled is one vector of floats per image: average over what else there is, e.g. x.mean((2, 3))"
    if "maps are" in found:
        return "give four maps of [B, C, H, W], from high to low resolution, or none: Features(pooled)"
    return "forward returns cxrbench.encoder.Features(pooled=..., maps=...)"


def _dtype(seen: Features) -> PluginCheck:
    kinds = sorted({str(part.dtype).removeprefix("torch.") for part in (seen.pooled, *seen.maps)})
    advice = "give float32 for float32 images: cast weights and outputs (.float())"
    return _verdict("dtype", kinds == ["float32"], ", ".join(kinds), advice)


def _finite(caller: Caller, seen: Features) -> PluginCheck:
    name, shape = "finite", caller.images([0]).shape
    advice = "look for a division by a norm or a deviation of 0, and for overflow in half precision"
    for what, features in (
        ("phantom images", lambda: seen),
        ("a black image", lambda: caller(_flat(caller, 0.0, shape))),
        ("a white image", lambda: caller(_flat(caller, 1.0, shape))),
    ):
        try:
            given = features()
        except THEIRS as error:
            return PluginCheck(name, "mend", f"it fails on {what}: {blame(error)}", advice)
        if not all(bool(part.isfinite().all()) for part in (given.pooled, *given.maps)):
            return PluginCheck(name, "mend", f"NaN or infinity for {what}", advice)
    return PluginCheck(name, "pass", "on phantom, black and white images")


def _flat(caller: Caller, gray: float, shape: torch.Size) -> Tensor:
    from cxrbench.data.decode.preprocess import normalised

    return normalised(torch.full((1, shape[-2], shape[-1]), gray), caller.preprocess)[None]


def _batch_sizes(caller: Caller, seen: Features) -> PluginCheck:
    alone = caller(caller.images([0]))
    mine, theirs = ([list(p.shape[1:]) for p in (f.pooled, *f.maps)] for f in (alone, seen))
    found = f"1 and {BATCH} images: the same shapes" if mine == theirs else f"{mine} for 1 image, {theirs} for {BATCH}"
    return _verdict(
        "two batch sizes", mine == theirs, found,
        "no shape may depend on the number of images: flatten(1), not view(-1, D)",
    )  # fmt: skip


def _determinism(caller: Caller, seen: Features) -> PluginCheck:
    moved = change(caller(caller.images(range(BATCH))), seen)
    return _verdict(
        "determinism", moved <= caller.tolerance, f"called twice, features differ by {_share(moved)}",
        "something is drawn: dropout or noise. F.dropout(x, p, self.training), not F.dropout(x, p); no torch.rand",
    )  # fmt: skip


def _independence(caller: Caller, seen: Features) -> PluginCheck:
    alone = change(caller(caller.images([0])), row(seen, 0))
    among = change(row(caller(caller.images([0, 7, 6, 5])), 0), row(seen, 0))
    moved = max(alone, among)
    return _verdict(
        "batch independence", moved <= caller.tolerance,
        f"beside other images, an image's features differ by {_share(moved)}",
        "nothing may come from the batch: batch norms in eval mode, no mean or ranking over dimension 0",
    )  # fmt: skip


def _threads(caller: Caller, seen: Features) -> PluginCheck:
    """Of an encoder that says it may be called by several threads at once."""
    with ThreadPoolExecutor(BATCH) as pool:
        given = list(pool.map(lambda i: caller(caller.images([i])), [i % BATCH for i in range(4 * BATCH)]))
    moved = max(change(features, row(seen, i % BATCH)) for i, features in enumerate(given))
    return _verdict(
        "threads", moved <= caller.tolerance, f"called by {BATCH} threads at once, features differ by {_share(moved)}",
        "thread_safe = True says that a call leaves nothing in the module: no hooks, no self.x = ... in forward",
    )  # fmt: skip


def _eval_mode(caller: Caller) -> PluginCheck:
    training = [name or "the encoder itself" for name, part in caller.module.named_modules() if part.training]
    return _verdict(
        "eval mode", not training, f"still in train mode: {some(training)}" if training else "of all modules",
        "do not call self.train() in forward, and let train() and eval() reach every module (super().train(mode))",
    )  # fmt: skip


def _gradients(caller: Caller) -> PluginCheck:
    name, module, images = "gradients", caller.module, caller.images([0])
    given = caller.freely(images)
    if any(part.requires_grad for part in (given.pooled, *given.maps)):
        return PluginCheck(
            name, "mend", "features keep a gradient though the encoder is frozen: memory for nothing",
            "forward makes no parameters and calls no requires_grad_: cxrbench freezes an encoder and thaws it itself",
        )  # fmt: skip
    if not any(True for _ in module.parameters()):
        return PluginCheck(name, "pass", "none: it has no parameters")
    module.requires_grad_(True)
    try:
        trainable = caller.freely(images).pooled.requires_grad
    finally:
        module.requires_grad_(False)
    return _verdict(
        name, trainable, "none while frozen, all when fine-tuned" if trainable else "none, even when it is fine-tuned",
        "its forward cuts them (torch.no_grad, detach, numpy): --finetune would train nothing", "remark",
    )  # fmt: skip


def _cost(caller: Caller, grown: int) -> dict[str, Any]:
    """Parameters, memory and speed; GFLOPs where they can be counted."""
    from cxrbench.features.efficiency import measure

    tensors = [*caller.module.parameters(), *caller.module.buffers()]
    facts: dict[str, Any] = {
        "device": caller.device,
        "parameters": caller.loaded.spec.parameters,
        "weights, MB": round(sum(t.numel() * t.element_size() for t in tensors) / 1e6, 1),
        "peak memory grew by, MB": round(grown / 1e6),
    }
    if caller.seconds:
        facts["images per second"] = round(1 / min(caller.seconds), 1)
        facts["threads"] = torch.get_num_threads()
    try:
        facts["GFLOPs per image"] = round(measure(caller.module.to("cpu"), caller.preprocess).gflops_per_image, 2)
    except THEIRS:  # of torch's counter, or of an encoder that has failed before
        facts["GFLOPs per image"] = None
    return facts


def _peak_memory() -> int:
    """Bytes; Linux counts kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _share(moved: float) -> str:
    """A relative change, readable."""
    return f"{100 * moved:.2g}%" if np.isfinite(moved) else "their shape"
