"""What an encoder that keeps the contract is asked when it is called: each check with an advice that mends it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cxrbench.data.decode.preprocess import normalised
from cxrbench.encoder import Features
from cxrbench.errors import THEIRS
from cxrbench.files.names import some
from cxrbench.kit.calls import BATCH, Caller, change, row
from cxrbench.kit.report import PluginCheck, verdict
from cxrbench.plugins.loading import blame

ANY_NUMBER = "no shape may depend on the number of images: flatten(1), not squeeze() or view(-1, D)"


def dtype(seen: Features) -> PluginCheck:
    """Whether float32 images have float32 features."""
    kinds = sorted({str(part.dtype).removeprefix("torch.") for part in (seen.pooled, *seen.maps)})
    advice = "give float32 for float32 images: cast weights and outputs (.float())"
    return verdict("dtype", kinds == ["float32"], ", ".join(kinds), advice)


def finite(caller: Caller, seen: Features) -> PluginCheck:
    """Whether no feature is NaN or infinite, of a black and a white image, too."""
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
    return normalised(torch.full((1, shape[-2], shape[-1]), gray), caller.preprocess)[None]


def batch_sizes(caller: Caller, seen: Features) -> PluginCheck:
    """Whether shapes are the same for one image and for several."""
    alone = caller(caller.images([0]))
    mine, theirs = ([list(p.shape[1:]) for p in (f.pooled, *f.maps)] for f in (alone, seen))
    found = f"1 and {BATCH} images: the same shapes" if mine == theirs else f"{mine} for 1 image, {theirs} for {BATCH}"
    return verdict("two batch sizes", mine == theirs, found, ANY_NUMBER)


def leaves_images(caller: Caller) -> PluginCheck:
    """Whether the images that it was shown are still the same."""
    images = caller.images([0])
    before = images.clone()
    caller(images)
    same = torch.equal(images, before)
    return verdict(
        "images", same, "left as they are" if same else "its call changes them",
        "whoever shows the same images again shows others: no images.mul_(...), no images[...] = ..., no inplace=True",
    )  # fmt: skip


def telling(seen: Features) -> PluginCheck:
    """Whether different images have different features."""
    alike = bool((seen.pooled == seen.pooled[0]).all())
    return verdict(
        "different images", not alike, "have the same features" if alike else "have different features",
        "nothing of an image reaches pooled: look at what forward returns",
    )  # fmt: skip


def determinism(caller: Caller, seen: Features) -> PluginCheck:
    """Whether a second call with other random numbers gives the same."""
    moved = change(caller(caller.images(range(BATCH))), seen)
    return verdict(
        "determinism", moved <= caller.tolerance, f"called twice, features differ by {_share(moved)}",
        "something is drawn: dropout or noise. F.dropout(x, p, self.training), not F.dropout(x, p); no torch.rand",
    )  # fmt: skip


def independence(caller: Caller, seen: Features) -> PluginCheck:
    """Whether an image has the same features alone and beside others."""
    alone = change(caller(caller.images([0])), row(seen, 0))
    among = change(row(caller(caller.images([0, 7, 6, 5])), 0), row(seen, 0))
    moved = max(alone, among)
    return verdict(
        "batch independence", moved <= caller.tolerance,
        f"beside other images, an image's features differ by {_share(moved)}",
        "nothing may come from the batch: batch norms in eval mode, no mean or ranking over dimension 0",
    )  # fmt: skip


def threads(caller: Caller, seen: Features) -> PluginCheck:
    """Of an encoder that says it may be called by several threads at once."""
    with ThreadPoolExecutor(BATCH) as pool:
        given = list(pool.map(lambda i: caller(caller.images([i])), [i % BATCH for i in range(4 * BATCH)]))
    moved = max(change(features, row(seen, i % BATCH)) for i, features in enumerate(given))
    return verdict(
        "threads", moved <= caller.tolerance, f"called by {BATCH} threads at once, features differ by {_share(moved)}",
        "thread_safe = True says that a call leaves nothing in the module: no hooks, no self.x = ... in forward",
    )  # fmt: skip


def eval_mode(caller: Caller) -> PluginCheck:
    """Whether calls have left every module in eval mode."""
    training = [name or "the encoder itself" for name, part in caller.module.named_modules() if part.training]
    return verdict(
        "eval mode", not training, f"still in train mode: {some(training)}" if training else "of all modules",
        "do not call self.train() in forward, and let train() and eval() reach every module (super().train(mode))",
    )  # fmt: skip


def gradients(caller: Caller) -> PluginCheck:
    """Whether there are none while it is frozen, and some when it is fine-tuned."""
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
    return verdict(
        name, trainable, "none while frozen, all when fine-tuned" if trainable else "none, even when it is fine-tuned",
        "its forward cuts them (torch.no_grad, detach, numpy): --finetune would train nothing", "remark",
    )  # fmt: skip


def _share(moved: float) -> str:
    """A relative change, readable."""
    return f"{100 * moved:.2g}%" if np.isfinite(moved) else "their shape"
