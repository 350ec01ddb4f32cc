"""Run an encoder over image files: decode, embed in order, a batch at a time."""

import contextlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cxrbench.data.decode.images import MAX_PIXELS, UseDecoded, use_decoded
from cxrbench.data.decode.preprocess import load_image
from cxrbench.encoder import Encoder, Features, Preprocess, view_codes
from cxrbench.errors import THEIRS, BadImageError, NotApplicableError, UserError
from cxrbench.features.device import Precision, autocast
from cxrbench.features.lanes import may_run_at_once, threads_of
from cxrbench.memory import keep_freed
from cxrbench.plugins.loading import blame, check_features

# An EfficientNet-Lite0 at 224 pixels takes half the time of a batch of 64, and none goes into fresh memory; a small ViT
# takes the same. Below 4 images matrices become so thin that other kernels, with other last bits, multiply them.
CPU_PART = 8


@dataclass(frozen=True)
class ExtractOptions:
    """How to run: results depend on ``precision`` (and in the last bit on ``batch_size``), not on the rest.

    ``workers``: decoding threads; Pillow, gdcm and torch's resize let go of the interpreter lock. ``max_pixels``:
    larger images are bad images. ``use``: ``use_decoded``, or what gives the same images otherwise.
    """

    device: torch.device
    precision: Precision
    batch_size: int = 64
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    use: UseDecoded = use_decoded


class ExtractedBatch(NamedTuple):
    """Rows ``start .. start + len(values)``: what was read, [b, D] (NaN for a bad image), and the bad images."""

    start: int
    values: NDArray[Any]
    bad: list[BadImageError]


def pooled(features: Features) -> NDArray[np.float32]:
    """The embeddings [b, D], float32."""
    return features.pooled.float().cpu().numpy()


def unmoved(index: int, image: torch.Tensor) -> torch.Tensor:
    """The image as it is."""
    del index
    return image


def extract(
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    paths: Sequence[Path],
    start: int,
    options: ExtractOptions,
    *,
    read: Callable[[Features], NDArray[Any]] = pooled,
    move: Callable[[int, torch.Tensor], torch.Tensor] = unmoved,
    views: Sequence[str] | None = None,
) -> Iterator[ExtractedBatch]:
    """Yield what ``read`` takes from the features of ``paths[start:]`` (rows of floats), batch by batch, in order.

    ``move(i, image)`` may change the prepared image [channels, size, size] of ``paths[i]``. ``views``: of each path,
    for an encoder that asks for them. Batches are always cut at
    multiples of the batch size, so an extraction that starts again at such a multiple gives the same bits as one that
    never stopped. A bad image becomes a row of NaN; it is not in the encoder's batch.
    """
    known_width = 0
    with _Embedding(load_module, options, read, views) as embedding:
        for first, images, bad, embedded in embedding.of(_decoded(preprocess, paths, start, options, move)):
            good = [i for i, image in enumerate(images) if image is not None]
            values = embedded() if good else None
            width = 0 if values is None else values.shape[1]
            if width and known_width not in (0, width):
                raise UserError(
                    f"the encoder gave {known_width} numbers per image, and {width} per image for a batch of "
                    f"{len(good)}: the width must be the same for every batch"
                )
            known_width = width or known_width
            whole = np.full((len(images), width), np.nan, np.float32 if values is None else values.dtype)
            if values is not None:
                finite = np.isfinite(values).all(1)
                if not finite.all():
                    raise UserError(
                        f"the encoder gives NaN or infinite features for {paths[first + good[int(np.argmin(finite))]]}"
                        ": its weights or its preprocessing are broken (with --precision fp32 too?)"
                    )
                whole[good] = values
            yield ExtractedBatch(first, whole, bad)


def embed(
    module: Encoder,
    images: torch.Tensor,
    options: ExtractOptions,
    read: Callable[[Features], NDArray[Any]] = pooled,
    codes: torch.Tensor | None = None,
) -> NDArray[Any]:
    """What ``read`` takes from the features of preprocessed images [b, C, S, S]: the pooled ones, [b, D] float32.

    ``codes``: of their views, [b] (``codes_of``). On a CPU in parts of about ``CPU_PART`` images: what lies between two
    layers then stays in the processor's cache.

    Raises UserError if the encoder fails, or gives something else than Features of b images.
    """
    cuts = _cuts(len(images), options)
    return np.concatenate([
        _embed_at_once(module, images[cut], options, read, None if codes is None else codes[cut]) for cut in cuts
    ])  # fmt: skip


def codes_of(module: object, views: Sequence[str] | None) -> torch.Tensor | None:
    """The codes int64 [n] of images' views, if the encoder asks for views and they are known; else None."""
    codes = view_codes(module)
    return None if codes is None or views is None else torch.tensor([codes.get(view, codes[""]) for view in views])


def _cuts(count: int, options: ExtractOptions) -> list[slice]:
    """What of ``count`` images is embedded in one call: sizes differ by one image at most."""
    calls = 1 if options.device.type != "cpu" else max(1, math.ceil(count / CPU_PART))
    ends = [0, *itertools.accumulate(count // calls + (i < count % calls) for i in range(calls))]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def _embed_at_once(
    module: Encoder, images: torch.Tensor, options: ExtractOptions, read: Callable[[Features], NDArray[Any]],
    codes: torch.Tensor | None = None,
) -> NDArray[Any]:  # fmt: skip
    """``embed`` without parts."""
    of_torch: Any = module
    name = of_torch._get_name()
    try:
        with torch.inference_mode(), autocast(options.device, options.precision):
            told = () if codes is None else (codes.to(options.device),)
            features = of_torch(images.to(options.device, memory_format=torch.channels_last), *told)
            check_features(name, features, len(images))
            return read(features)
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of memory on {options.device} with {len(images)} images: lower --batch-size") from error
    except (UserError, NotApplicableError):
        raise
    except THEIRS as error:
        raise UserError(f"encoder {name} fails on images {list(images.shape)}: {blame(error)}") from error


Decoded = tuple[int, list[torch.Tensor | None], list[BadImageError]]
Embedded = tuple[int, list[torch.Tensor | None], list[BadImageError], Callable[[], NDArray[Any]]]


class _Embedding:
    """What embeds batches: an encoder, built for the first good image; a context, which ends its threads.

    On a CPU an encoder that several threads may call embeds several parts of a batch at once, and while it does the
    next batch is decoded (``lanes.py``).
    """

    def __init__(
        self, load_module: Callable[[], Encoder], options: ExtractOptions, read: Callable[[Features], NDArray[Any]],
        views: Sequence[str] | None,
    ) -> None:  # fmt: skip
        self._load_module, self._options, self._read, self._views = load_module, options, read, views
        self._module: Any = None
        self._lanes: ThreadPoolExecutor | None = None

    def __enter__(self) -> "_Embedding":
        return self

    def __exit__(self, *error: object) -> None:
        if self._lanes is not None:
            self._lanes.shutdown(cancel_futures=True)

    def of(self, batches: Iterator[Decoded]) -> Iterator[Embedded]:
        """The batches in order, each with what gives the features of its good images."""
        begun: deque[Embedded] = deque()
        for first, images, bad in batches:
            good = [i for i, image in enumerate(images) if image is not None]
            views = None if self._views is None else [self._views[first + i] for i in good]
            begun.append((first, images, bad, self._begin([image for image in images if image is not None], views)))
            if self._lanes is None or len(begun) > 1:
                yield begun.popleft()
        yield from begun

    def _begin(self, good: list[torch.Tensor], views: Sequence[str] | None) -> Callable[[], NDArray[Any]]:
        if not good:
            return lambda: np.empty((0, 0), np.float32)
        if self._module is None:
            self._module = self._built()
        module: Any = self._module
        codes = codes_of(module, views)
        if self._lanes is None:
            values = embed(module, torch.stack(good), self._options, self._read, codes)
            return lambda: values

        def embedded(cut: slice) -> NDArray[Any]:
            # stacked here: in one piece a batch takes fresh memory each time, and all cores to be copied into it
            told = None if codes is None else codes[cut]
            return _embed_at_once(module, torch.stack(good[cut]), self._options, self._read, told)

        parts = [self._lanes.submit(embedded, cut) for cut in _cuts(len(good), self._options)]
        return lambda: np.concatenate([part.result() for part in parts])

    def _built(self) -> Any:
        """The encoder; beside it the threads that it embeds in."""
        # convolutions run about twice as fast on channels-last weights and images, in bf16 above all
        module: Any = self._load_module().to(self._options.device, memory_format=torch.channels_last)  # type: ignore[attr-defined]
        if self._options.device.type == "cpu":
            keep_freed()
        cores, parts = torch.get_num_threads(), math.ceil(self._options.batch_size / CPU_PART)
        if self._options.device.type == "cpu" and min(cores, parts) > 1 and may_run_at_once(module):
            count = min(cores, parts)
            self._lanes = threads_of(count, cores // count)
        return module


def _decoded(
    preprocess: Preprocess,
    paths: Sequence[Path],
    start: int,
    options: ExtractOptions,
    move: Callable[[int, torch.Tensor], torch.Tensor],
) -> Iterator[Decoded]:
    """Decoded batches in order; at most three batches are in memory, however many images there are.

    For an accelerator the next batch is decoded while this one is embedded. A model on the CPU has all cores already:
    a decoder beside it keeps its threads waiting for each other, so there the two take turns, unless the model works
    in lanes; of the next files the system is only asked to read ahead.
    """
    firsts, workers = range(start, len(paths), options.batch_size), max(1, options.workers)
    with threads_of(workers, max(1, torch.get_num_threads() // workers)) as pool:

        def decode_at(first: int) -> Decoded:
            rows = range(first, min(first + options.batch_size, len(paths)))
            results = list(pool.map(lambda i: _load(paths[i], preprocess, options, i, move), rows))
            bad = [r for r in results if isinstance(r, BadImageError)]
            return first, [None if isinstance(r, BadImageError) else r for r in results], bad

        if options.device.type == "cpu":
            for first in firsts:
                decoded = decode_at(first)
                _read_ahead(paths[first + options.batch_size : first + 2 * options.batch_size])
                yield decoded
            return
        with ThreadPoolExecutor(1) as conductor:
            ahead: list[Future[Decoded]] = []
            try:
                for first in firsts:
                    ahead.append(conductor.submit(decode_at, first))
                    if len(ahead) > 1:
                        yield ahead.pop(0).result()
                while ahead:
                    yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()


def _read_ahead(paths: Sequence[Path]) -> None:
    """Ask the system to bring files into memory, without waiting for it. Where it cannot be asked, nothing happens."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _load(
    path: Path,
    preprocess: Preprocess,
    options: ExtractOptions,
    index: int,
    move: Callable[[int, torch.Tensor], torch.Tensor],
) -> torch.Tensor | BadImageError:
    try:
        return move(index, load_image(path, preprocess, max_pixels=options.max_pixels, use=options.use))
    except BadImageError as error:
        return error
