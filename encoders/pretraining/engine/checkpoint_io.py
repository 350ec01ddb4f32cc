"""How training checkpoints reach the disk."""

import errno
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cxrbench.files.atomic import atomic_path
from cxrbench.files.seal import seal_zip


class AtomicIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, even after SIGKILL, and carry a checksum."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside ``path``, seal, sync, rename. Raises UserError if the disk will not."""
        with atomic_path(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:
                if "inline_container" not in str(error):
                    raise
                # What PyTorch's writer says in place of the system's own words.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            seal_zip(temporary)
