"""Taking turns: who waits, who is refused, and who is taken for dead."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrbench.errors import UserError
from cxrbench.files.generations import Holder, is_lease
from cxrbench.files.leases import Lease, Leases, current
from cxrbench.files.turns import at_once, check_still, turn

HOLD = """
import platform, sys
from pathlib import Path
from cxrbench.files.leases import Leases
if sys.argv[2] == "elsewhere":
    platform.node = lambda: "elsewhere"
leases = Leases(float(sys.argv[3]))
leases.acquire(Path(sys.argv[1]), "hold")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.lock"


def held(path: Path, where: str, ttl: float) -> subprocess.Popen[bytes]:
    """A process that holds the lease until its input ends."""
    code = [sys.executable, "-c", HOLD, str(path), where, str(ttl)]
    holder = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


class Patient:
    """The module ``time`` of who looks at leases: while their holder lives, a second lasts as long as ten minutes.

    So a slow machine, on which a holder renews its lease too late, does not make it look dead.
    """

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self.holder, self.began = holder, time.monotonic()

    def monotonic(self) -> float:
        passed = time.monotonic() - self.began
        return passed / 600 if self.holder.poll() is None else passed

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture(params=[("here", 1e6), ("elsewhere", 1.0)])
def holder(
    path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """One on this machine, whose lease would last, and one that only its renewals tell of."""
    process = held(path, *request.param)
    monkeypatch.setattr("cxrbench.files.leases.time", Patient(process))
    yield process
    process.kill()
    process.communicate()


def test_who_lives_refuses_others_and_who_was_killed_does_not(path: Path, holder: subprocess.Popen[bytes]) -> None:
    with Leases() as leases:
        found = at_once(leases, path, "mine")
        assert isinstance(found, Holder)
        assert found.what == "hold"
    holder.kill()
    holder.wait()
    with Leases() as leases:  # this one has seen nothing yet
        assert isinstance(at_once(leases, path, "mine"), Lease)


def test_a_turn_waits_for_the_one_before_and_says_so_once(path: Path, holder: subprocess.Popen[bytes]) -> None:
    said: list[str] = []

    def wait() -> None:
        said.append("waiting")
        threading.Timer(0.3, holder.kill).start()

    with turn(path, "mine", wait) as lease:
        assert not lease.lost()
        assert said == ["waiting"]
    assert list(path.parent.iterdir()) == []
    with turn(path, "mine", lambda: said.append("again")):
        pass
    assert said == ["waiting"]


def test_ctrl_c_ends_waiting_and_leaves_what_others_have(path: Path, holder: subprocess.Popen[bytes]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), turn(path, "mine", interrupted):
        pass
    found = current(path)
    assert found is not None
    assert found.what == "hold"
    assert all(map(is_lease, path.parent.iterdir()))  # and no file of a lease that is being made


def test_what_fails_in_a_turn_ends_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), turn(path, "mine"):
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []


def test_who_was_taken_over_is_told_in_one_line(path: Path) -> None:
    with turn(path, "drawing") as lease:
        check_still(lease)
        os.unlink(f"{path}.1")
        with pytest.raises(UserError, match="stood still for so long that another one took over drawing: run it again"):
            check_still(lease)


def test_leases_are_known_by_their_names() -> None:
    assert is_lease(Path("a/KEY.lock.12"))
    assert is_lease(Path(".phantom.lock.1"))
    assert not any(map(is_lease, map(Path, ("KEY.lock", "KEY.lock.01", "KEY.lock.x", "KEY.1", ".lock.1.tmp"))))
