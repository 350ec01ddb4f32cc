"""Predictions that nobody made: what a leaderboard can be built of in a moment."""

import numpy as np
import pandas as pd

from cxrbench.predictions import Predictions


def made_up_predictions(
    encoder: str,
    dataset: str = "vindr",
    strength: float = 1.0,
    labels: tuple[str, ...] = ("Nodule/Mass", "Effusion"),
    n: int = 160,
    seed: int = 0,
    fraction: float = 1.0,
    kind: str = "multilabel",
    synthetic: bool = False,
    pretrained_on: tuple[str, ...] = (),
    lineage: tuple[str, ...] = (),
    images_per_patient: int = 2,
    groups: dict[str, tuple[str, ...]] | None = None,
) -> Predictions:
    """Made-up predictions: targets and half of the noise belong to the dataset, the rest to the encoder and seed."""
    of_data = np.random.default_rng(sum(map(ord, dataset)))
    of_encoder = np.random.default_rng([sum(map(ord, encoder)), seed])
    shape = (n, len(labels))
    if kind == "multiclass":
        targets = np.eye(len(labels))[of_data.integers(0, len(labels), n)]
    else:
        targets = (of_data.random(shape) < 0.35).astype(float)
    logits = strength * (targets - 0.5) + 0.7 * of_data.standard_normal(shape) + 0.7 * of_encoder.standard_normal(shape)
    exponentials = np.exp(logits)
    scores = exponentials / (exponentials.sum(1, keepdims=True) if kind == "multiclass" else 1 + exponentials)
    facts = {
        "image_id": [f"i{i:04}" for i in range(n)],
        "patient_id": [f"p{i // images_per_patient:04}" for i in range(n)],
        "split": ["test"] * n,
    }
    columns = {f"score:{label}": scores[:, k] for k, label in enumerate(labels)}
    columns |= {f"target:{label}": targets[:, k] for k, label in enumerate(labels)}
    test = pd.DataFrame(facts | columns)
    unused = test.head(9).assign(split="val", image_id=[f"v{i}" for i in range(9)])  # Must not be counted.
    return Predictions(
        rows=pd.concat([unused, test.sample(frac=1, random_state=seed)], ignore_index=True),
        labels=labels,
        kind=kind,  # pyright: ignore[reportArgumentType]
        groups={"macro": labels, **(groups or {})},
        synthetic=synthetic,
        cell={"encoder": encoder, "dataset": dataset, "protocol": "classification", "fraction": fraction, "seed": seed},
        encoder={"pretrained_on": list(pretrained_on)},
        dataset={"name": dataset, "lineage": list(lineage), "notes": []},
    )
