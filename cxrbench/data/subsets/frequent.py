"""The labels that most training images have."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

TOP = "top"
"""How a group of the most frequent labels begins: ``top5``."""


def most_frequent(images: pd.DataFrame, labels: Sequence[str], count: int) -> tuple[str, ...]:
    """The ``count`` labels with most positives in the training split of an image table, most frequent first.

    Ties go to the label that comes first. No label of validation or test is looked at.
    """
    train = images.loc[(images["split"] == "train").to_numpy(), list(labels)].to_numpy(np.float32)
    order = np.argsort(-(train == 1).sum(0), kind="stable")
    return tuple(str(labels[at]) for at in order[:count].tolist())
