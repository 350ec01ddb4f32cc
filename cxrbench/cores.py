"""How many CPU cores there are for us."""

import os


def cores() -> int:
    """Cores that this process may use: fewer than the machine has where a scheduler or ``taskset`` says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
