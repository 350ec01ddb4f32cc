"""Work that takes long enough to be interrupted, and says how often its encoders were called."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.small_clinics import make_clinic
from cluster.stores import assert_same_cells, assert_sound, cxrbench

SOURCE = '''
import time
from pathlib import Path
import torch
from cxrbench.encoder import Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class A(torch.nn.Module):
    """Means of 4 x 4 tiles, {seconds} s per batch. Every call leaves a line, but for those on the fixed images."""
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        if not torch.equal(images[0], fixed_batch(self.preprocess)[0]):
            with open(Path(__file__).with_name("calls.txt"), "a") as log:
                log.write(f"{{type(self).__name__}} {{len(images)}}\\n")
            time.sleep({seconds})
        return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))
'''


@dataclass(frozen=True)
class SlowWork:
    """``asked``: of ``cxrbench run``, four encoders, two protocols, 60 images. ``alone``: what one process makes."""

    asked: tuple[str, ...]
    alone: Path
    calls_file: Path

    def calls(self) -> list[str]:
        """``ENCODER images`` of every call since ``calls_file`` was last removed."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


def slow_work(folder: Path, *, seconds: float) -> SlowWork:
    """The work in a folder, done once by one process. ``seconds``: that an encoder takes for four images."""
    others = "".join(f"\nclass {name}(A):\n    pass\n" for name in "BCD")
    (folder / "slow.py").write_text(SOURCE.format(seconds=seconds) + others)
    table = make_clinic(folder / "clinic")
    encoders = ",".join(f"{folder / 'slow.py'}:{name}" for name in "ABCD")
    asked = ("--encoder", encoders, "--tasks", f"{table}:classification,{table}:knn", "--batch-size", "4")
    done = cxrbench("run", *asked, "--results", folder / "alone", "--cache", folder / "cache-alone")
    assert done.returncode == 0, done.stderr
    return SlowWork(asked, folder / "alone", folder / "calls.txt")


def assert_bits_of_one_process(
    work: SlowWork, folder: Path, executor: tuple[str, ...], env: Mapping[str, str], trouble: Callable[[], None]
) -> None:
    """Have the work done by a cluster; what comes of it is what one process makes of it, to the bit.

    ``executor``: options of ``cxrbench run``; ``env``: in which it finds the cluster. ``trouble`` is called once the
    run has been submitted: it waits for what it needs, and then does harm.
    """
    results, cache = folder / "results", folder / "cache"
    command = [sys.executable, "-m", "cxrbench", "run", *work.asked, "--results", str(results), "--cache", str(cache)]
    mine = {**env, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, *executor], env=mine, stdout=-1, stderr=-1, text=True) as run:
        try:
            trouble()
            out, err = run.communicate(timeout=900)
        finally:
            run.kill()
    assert run.returncode == 0, err
    assert "8 cells computed." in out
    assert_sound(results, cache)
    assert_same_cells(results, work.alone)
