"""How many CPU cores there are for us, and how libraries are told how many to use."""

import os

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables by which libraries are told, before they are imported, how many threads of the CPU they may have."""


def cores() -> int:
    """Cores that this process may use: fewer than the machine has where a scheduler or ``taskset`` says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
