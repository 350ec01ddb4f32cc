"""What an encoder says of itself is held to what it may say where it is written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.errors import UserError


@pytest.mark.parametrize(
    ("make", "said", "why"),
    [
        (Preprocess, {"size": (224, 224)}, "size (224, 224): give the side of a square"),
        (Preprocess, {"size": 0}, "size 0: give the side"),
        (Preprocess, {"size": 224.0}, "size 224.0: give the side"),
        (Preprocess, {"size": True}, "size True: give the side"),
        (Preprocess, {"resize": "stretch"}, "resize 'stretch': choose from squash, crop, pad"),
        (Preprocess, {"interpolation": "nearest"}, "interpolation 'nearest': choose from bilinear, bicubic"),
        (Preprocess, {"channels": 4}, "channels 4: choose from 1, 3"),
        (Preprocess, {"mean": 0.5}, "mean 0.5: give a tuple of numbers, (0.5,)"),
        (Preprocess, {"mean": "0.5"}, "mean '0.5': give a tuple of numbers"),
        (Preprocess, {"std": (0.2, float("nan"), 0.2)}, "std (0.2, nan, 0.2): give a tuple of numbers"),
        (Preprocess, {"mean": (0.4, 0.5)}, "mean has 2 numbers for 3 channel(s): give one, or 3"),
        (Preprocess, {"channels": 1, "std": (0.2, 0.2, 0.2)}, "std has 3 numbers for 1 channel(s): give one"),
        (Preprocess, {"std": (0.0,)}, "std (0.0,): give what images are divided by, above 0"),
        (Preprocess, {"crop_pct": 87.5}, "crop_pct 87.5: give a share"),
        (EncoderCard, {"method": None}, "method None: give text"),
        (EncoderCard, {"method": "x", "licence": None}, "licence None: give text"),
        (EncoderCard, {"method": "x", "pretrained_on": "nih"}, "pretrained_on 'nih': give a tuple of names, ('nih',)"),
        (EncoderCard, {"method": "x", "pretrained_on": {"nih"}}, "pretrained_on {'nih'}: give a tuple of names"),
        (EncoderCard, {"method": "x", "assumed": (1,)}, "assumed (1,): give a tuple of names"),
    ],
)
def test_wrong_words(make: Callable[..., object], said: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError) as error:
        make(**said)
    assert why in str(error.value)
    assert str(error.value).startswith(f"{make.__name__}: ")  # type: ignore[attr-defined]


def test_numbers_of_numpy_and_lists_will_do() -> None:
    wanted = Preprocess(size=np.int64(32), mean=[0.5, 0.5, 0.5], std=(np.float32(0.25),))  # type: ignore[arg-type]
    assert (wanted.size, len(wanted.mean)) == (32, 3)
    assert EncoderCard("x", pretrained_on=["nih"]).pretrained_on == ["nih"]  # type: ignore[arg-type,comparison-overlap]
