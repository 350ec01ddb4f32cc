"""A linear head on features: made once, or anew in every epoch where the images are augmented."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest, Rows
from cxrbench.encoder import Encoder
from cxrbench.features.extract import codes_of, embed
from cxrbench.task import FrozenEncoder
from cxrbench.tasks.classification.problem import Problem
from cxrbench.tasks.classification.trained import Trained
from cxrbench.tasks.classification.training.batches import ImageBatches
from cxrbench.tasks.classification.training.loop import Selected, best_rate, epoch_batches, fit, linear_head
from cxrbench.tasks.classification.views import Logits
from cxrbench.tasks.standardize import Standardizer
from cxrbench.tasks.training.image_augmentation import generator
from cxrbench.tasks.training.optimization import head_groups

Floats = NDArray[np.float32]


def train_head(encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
    """Logits of the validation and test rows, by the learning rate and epoch that are best on validation.

    Where the recipe does not augment, or only flips, the encoder meets every image once (or twice).
    """
    recipe = problem.recipe
    if recipe.images == "once":
        features = np.asarray(encoder.pooled(manifest), np.float32)
        if recipe.standardize:
            features = Standardizer.of(features[problem.train])(features).astype(np.float32)
        return _on_features(encoder, problem, features)
    if recipe.images == "flipped":
        return _on_features(encoder, problem, np.asarray(encoder.pooled(manifest), np.float32), manifest)
    return _on_images(encoder, manifest, problem)


def _on_features(
    encoder: FrozenEncoder, problem: Problem, features: Floats, flipping: Manifest | None = None
) -> Trained:
    """Train on features [n, D] that are there. ``flipping``: the manifest whose images are flipped at random.

    A flipped image has features of its own, made once: in each epoch every image is one of the two.
    """
    device = encoder.context.options.device
    here = torch.tensor(features, device=device)
    ids: NDArray[np.str_] | None = None
    mirrored = here
    if flipping is not None:
        ids = flipping.images["image_id"].to_numpy(str)
        mirrored = here.clone()
        inputs = ImageBatches(flipping, encoder.module.preprocess, encoder.context.options)
        made = _embedded(encoder, inputs, problem.train, lambda images: images.flip(-1), problem)
        mirrored[torch.from_numpy(problem.train).to(device)] = torch.from_numpy(made).to(device)
    chances = [float(step["flip"]) for step in problem.recipe.augmentation]

    def batches(epoch: int) -> Iterator[tuple[Rows, Tensor]]:
        for rows in epoch_batches(problem, epoch):
            at = torch.from_numpy(rows).to(device)
            if ids is None:
                yield rows, here[at]
                continue
            flips = [
                sum(rng.random() < chance for chance in chances) % 2 == 1
                for rng in (generator(problem.seed, epoch, str(ids[row])) for row in rows)
            ]
            yield rows, torch.where(torch.tensor(flips, device=device)[:, None], mirrored[at], here[at])

    return _trained(encoder, problem, features.shape[1], batches, lambda rows: here[torch.from_numpy(rows).to(device)])


def _on_images(encoder: FrozenEncoder, manifest: Manifest, problem: Problem) -> Trained:
    """Run the frozen encoder in every epoch, for images that are never twice the same; once for the others."""
    recipe, options = problem.recipe, encoder.context.options
    module = encoder.module
    inputs = ImageBatches(manifest, module.preprocess, options, recipe.augmentation, recipe.frame)
    held = np.concatenate([problem.val, problem.test])
    fixed = _embedded(encoder, inputs, held, lambda images: images, problem)
    place = {int(row): i for i, row in enumerate(held)}
    network: nn.Module = module.to(options.device)  # type: ignore[attr-defined]

    def batches(epoch: int) -> Iterator[tuple[Rows, Tensor]]:
        for rows, images in inputs.batches(epoch_batches(problem, epoch), problem.seed, epoch):
            codes = codes_of(network, inputs.views_of(rows))
            yield rows, torch.from_numpy(_in_parts(network, images, encoder, codes))

    def held_out(rows: Rows) -> Tensor:
        return torch.from_numpy(fixed[[place[int(row)] for row in rows]]).to(options.device)

    return _trained(encoder, problem, fixed.shape[1], batches, held_out)


def _trained(
    encoder: FrozenEncoder,
    problem: Problem,
    width: int,
    batches: Callable[[int], Iterator[tuple[Rows, Tensor]]],
    features_of: Callable[[Rows], Tensor],
) -> Trained:
    """Fit a head at each learning rate; logits of validation and test by the best."""
    context = encoder.context
    recipe, device = problem.recipe, context.options.device

    def head() -> nn.Linear:
        return linear_head(width, problem.targets.shape[1], recipe, problem.seed).to(device)

    def predict(model: nn.Module, rows: Rows) -> Logits:
        with torch.no_grad():
            return model(features_of(rows)).double().cpu().numpy()

    def train(rate: float) -> Selected | None:
        model = head()
        return fit(
            model, model, head_groups(model, recipe), problem, rate, batches, lambda rows: predict(model, rows),
            device=device, precision="fp32", told=lambda at, of: context.progress.train("linear head", at, of),
        )  # fmt: skip

    best = best_rate(recipe, train)
    if best.logits is not None:
        return Trained(best.logits, best.facts)
    model = head()
    model.load_state_dict(dict(best.state))
    return Trained(predict(model, np.concatenate([problem.val, problem.test])), best.facts)


def _embedded(
    encoder: FrozenEncoder, inputs: ImageBatches, rows: Rows, change: Callable[[Tensor], Tensor], problem: Problem
) -> Floats:
    """Features [len(rows), D] of images as they are, each changed by ``change``."""
    options = encoder.context.options
    module = encoder.module.to(options.device)  # type: ignore[attr-defined]
    parts = [rows[at : at + options.batch_size] for at in range(0, len(rows), options.batch_size)]
    return np.concatenate([
        embed(module, change(images), options, codes=codes_of(module, inputs.views_of(at)))
        for at, images in inputs.batches(parts, problem.seed)
    ])  # fmt: skip


def _in_parts(
    network: Encoder | nn.Module, images: Tensor, encoder: FrozenEncoder, codes: Tensor | None = None
) -> Floats:
    """Features of a batch that may be larger than the encoder's own batches. ``codes``: of the images' views."""
    options = encoder.context.options
    cuts = [slice(at, at + options.batch_size) for at in range(0, len(images), options.batch_size)]
    made = [
        embed(network, images[cut], options, codes=None if codes is None else codes[cut])  # type: ignore[arg-type]
        for cut in cuts
    ]
    return np.concatenate(made)
