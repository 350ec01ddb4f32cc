"""Freed memory that is kept."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
from cxrbench.memory import keep_freed

if {kept}:
    keep_freed()
def use():
    blocks = [np.ones(8 << 20, np.uint8) for _ in range(5)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_blocks_are_used_again_instead_of_being_cleared_by_the_system() -> None:
    """Page faults of five times 40 MB, which without it lie in fresh memory each time."""
    kept, not_kept = (
        int(subprocess.check_output([sys.executable, "-c", CODE.format(kept=kept)])) for kept in (True, False)
    )
    assert kept < not_kept / 10
