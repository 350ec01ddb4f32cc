"""Decodes files in a process of its own, which may crash, hang or grow without taking the tests along."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

CHILD = """
import json, logging, sys, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from cxrbench.data.annotations.mask_files import read_mask
from cxrbench.data.decode.images import decode, image_size
from cxrbench.errors import UserError

def one(name):
    found = {}
    for what in (decode, image_size, read_mask):
        try:
            what(Path(name))
            found[what.__name__] = None
        except UserError as error:
            found[what.__name__] = str(error)
        except BaseException as error:
            found[what.__name__] = f"TRACEBACK {type(error).__name__}: {error}"
    return found

names = json.load(sys.stdin)
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    for name, found in zip(names, pool.map(one, names)):
        print(json.dumps([name, found]), flush=True)
status = Path("/proc/self/status").read_text().split()  # not getrusage, which counts the parent's memory at the fork
print(int(status[status.index("VmHWM:") + 1]) * 1024, flush=True)
"""


class Decoded(NamedTuple):
    """What became of each file, by function (None, or the message of its UserError), and the child's peak memory."""

    found: dict[Path, dict[str, str | None]]
    peak: int


def decode_in_child(paths: Sequence[Path], *, threads: int = 1, seconds: float = 600) -> Decoded:
    """Decode every file, read its size, and read it as a mask. AssertionError where the child dies or hangs."""
    found: dict[Path, dict[str, str | None]] = {}
    asked: dict[str, Any] = {"input": json.dumps([str(path) for path in paths]), "timeout": seconds}
    run = subprocess.run([sys.executable, "-c", CHILD, str(threads)], capture_output=True, text=True, **asked)
    *lines, last = run.stdout.splitlines() or [""]
    for line in lines:
        name, outcome = json.loads(line)
        found[Path(name)] = outcome
    unanswered = [path.name for path in paths if path not in found]
    assert run.returncode == 0, f"exit code {run.returncode} at {unanswered[:1]}: {run.stderr[-500:]}"
    assert not unanswered
    return Decoded(found, int(last))


def no_promise_broken(found: dict[Path, dict[str, str | None]]) -> list[str]:
    """Messages that are no single line about the file, and outcomes that contradict each other."""
    wrong = []
    for path, outcome in found.items():
        for what, message in outcome.items():
            if message is not None and (message.startswith("TRACEBACK") or "\n" in message or str(path) not in message):
                wrong.append(f"{path.name} {what}: {message}")
        if outcome["decode"] is None and outcome["image_size"] is not None:
            wrong.append(f"{path.name} is decoded, and has no size")
    return wrong
