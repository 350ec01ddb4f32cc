"""Whether a process has certainly ended: another one of its number is not taken for it, and doubt is no certainty."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cxrbench.processes import Process, has_ended, this_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="the system does not tell its processes")


def of_child(child: subprocess.Popen[bytes]) -> Process:
    """What a child knows of itself."""
    assert child.stdout is not None
    return Process(*eval(child.stdout.readline()))


def started(tail: str) -> subprocess.Popen[bytes]:
    code = f"""
import sys
from dataclasses import astuple
from cxrbench.processes import this_process
print(astuple(this_process()), flush=True)
{tail}
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)


def test_who_runs_has_not_ended_and_who_was_killed_has() -> None:
    assert not has_ended(this_process())
    child = started("sys.stdin.read()")
    process = of_child(child)
    assert process.pid == child.pid
    assert not has_ended(process)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it waits to be reaped, and its number is not free
    assert has_ended(process)
    child.communicate()
    assert has_ended(process)


def test_a_number_that_another_process_has_now_is_not_it() -> None:
    own = this_process()
    assert has_ended(replace(own, born=own.born - 1))
    assert not has_ended(replace(own, born=0))  # nobody knows when it began


def test_of_another_host_start_or_namespace_nothing_is_certain() -> None:
    own = replace(this_process(), pid=2**22 + 1)  # no process has such a number
    assert has_ended(own)
    for other in (replace(own, host="elsewhere"), replace(own, boot="earlier"), replace(own, namespace=1)):
        assert not has_ended(other)


def test_a_process_of_another_user_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr("cxrbench.processes.os.kill", forbidden)
    assert not has_ended(replace(this_process(), pid=2**22 + 1))
