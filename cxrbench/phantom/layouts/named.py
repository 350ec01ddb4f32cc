"""The phantom's datasets that are drawn only when they are named: what draws them, and how many images of each part.

A part is seeded by its name (``cases.stream``), so that a dataset added here changes no byte of another.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cxrbench.phantom.layouts.detection import object_cxr


class Drawn(NamedTuple):
    """A dataset of the phantom: ``image`` writes one case, ``tables`` writes what lies beside; images of each part.

    The name of a part is that of the dataset, or begins with it and an underscore (``object-cxr_train``).
    """

    image: Callable[..., Any]
    tables: Callable[..., None]
    images: Mapping[str, int]


NAMED: Mapping[str, Drawn] = {
    "object-cxr": Drawn(
        object_cxr.object_cxr_image, object_cxr.object_cxr_tables, {"object-cxr_train": 160, "object-cxr_dev": 60}
    ),
}
