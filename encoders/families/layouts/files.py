"""The encoder's own weights in a published file: out of its container, without the names that stand before them."""

from pathlib import Path

from torch import Tensor

from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_state_dict
from cxrbench.files.containers import strip_prefixes


def encoder_state(entry: PublishedEncoder, path: Path) -> dict[str, Tensor]:
    """Names to tensors of the encoder alone, as its options say: ``container``, then ``prefix`` or ``prefixes``.

    A file that holds the encoder's weights without the prefix will do, too. Raises UserError.
    """
    container = entry.options.get("container")
    try:
        state = read_state_dict(path, [container] if container else None)
    except UserError as error:
        raise UserError(f"{error} ({entry.spec}: {entry.refused})" if entry.refused else str(error)) from error
    prefixes = entry.options.get("prefixes", (entry.options.get("prefix", ""),))
    for prefix in prefixes:
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if own:
            return strip_prefixes(own)
    return state
