"""The views in a user's CSV, in the manifest's words."""

from collections.abc import Sequence

from cxrbench.data.tables import is_empty
from cxrbench.files.names import some

VIEWS = {
    "PA": "PA", "POSTEROANTERIOR": "PA", "AP": "AP", "ANTEROPOSTERIOR": "AP",
    "L": "L", "LL": "L", "RL": "L", "LAT": "L", "LATERAL": "L",
}  # fmt: skip


def read_views(cells: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """PA, AP, L, or "" where unknown, of each cell; and a note on cells that are none of them."""
    views = [VIEWS.get("".join(cell.upper().split()).replace("-", ""), "") for cell in cells]
    strange = [cell for cell, view in zip(cells, views, strict=True) if not view and not is_empty(cell)]
    if not strange:
        return views, ()
    names = some(sorted(set(strange)))
    return views, (f"{len(strange):,} cells are no view (PA, AP, lateral), and so unknown: {names}.",)
