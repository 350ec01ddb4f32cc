from collections.abc import Callable

import pytest

from cxrbench.predictions import Predictions
from support.made_up import made_up_predictions


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Predictions]:
    """Made-up predictions of an encoder on a dataset."""
    return made_up_predictions
