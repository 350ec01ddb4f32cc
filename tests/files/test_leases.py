"""Leases: one holder of many that ask, whatever is killed, stopped, skewed or damaged meanwhile."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrbench.errors import DiskError, UserError
from cxrbench.files import generations
from cxrbench.files.atomic import ReadOnlyError
from cxrbench.files.generations import Holder, highest, numbers
from cxrbench.files.leases import Lease, Leases, current

SHORT = 1.0  # seconds: the ttl of leases that are waited for
LONG = 1e6  # of those that nobody waits for: however slow the machine is, their holders are never late
KILLS = 5
BEGIN = """
import os, sys, time, platform
from pathlib import Path
from cxrbench.files.leases import Lease, Leases
folder, ttl = Path(sys.argv[1]), float(sys.argv[2])
def say(*what): print(*what, flush=True)
def hear(): return sys.stdin.readline().strip()
"""


class Other:
    """Another process, which runs some code and is talked with by lines."""

    def __init__(self, folder: Path, code: str, *before: str) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", BEGIN + code, str(folder), str(SHORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def says(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str = "") -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Other]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Start]:
    """Starts other processes, which end with the test."""
    all_of_them: list[Other] = []

    def start(code: str, *before: str) -> Other:
        all_of_them.append(Other(tmp_path, code, *before))
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        one.process.send_signal(signal.SIGCONT)
        one.end()


@pytest.fixture
def leases() -> Iterator[Leases]:
    with Leases(LONG) as leases:
        yield leases


class Clock:
    """The module ``time`` of who looks at leases, in which the seconds of its ``monotonic`` pass as the test says."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("cxrbench.files.leases.time", clock := Clock())
    return clock


def taken(leases: Leases, path: Path) -> Lease:
    """The lease of ``path``, which nobody may have."""
    lease = leases.acquire(path, "test")
    assert isinstance(lease, Lease)
    return lease


def waited_for(leases: Leases, path: Path) -> Lease:
    """The lease of ``path``, as soon as it can be had."""
    while True:
        lease = leases.acquire(path, "test")
        if isinstance(lease, Lease):
            return lease
        time.sleep(0.02)


def taken_over(leases: Leases, path: Path, clock: Clock) -> Lease:
    """The lease of ``path``, which somebody dead has, as soon as the longest time is over."""
    assert isinstance(leases.acquire(path, "test"), Holder)
    clock.now += 2 * LONG
    return taken(leases, path)


def renewed(path: Path) -> None:
    """Wait until the holder of ``path`` has shown once more that it lives."""
    before = highest(path)
    while highest(path) == before:
        time.sleep(0.01)


def stop(holder: Other) -> None:
    """Have a process stand still."""
    holder.process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{holder.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


HOLD = """
lease = Leases(ttl).acquire(folder / "work", "hold")
say(type(lease).__name__, os.getpid())
while (what := hear()) != "end":
    say(lease.lost()) if what == "lost?" else say(lease.release())
"""
PATIENT = f"ttl = {LONG}\n"
ELSEWHERE = "platform.node = lambda: 'elsewhere'\n"  # so that nobody can look whether the process runs


def test_a_lease_is_held_once_says_by_whom_and_leaves_nothing(tmp_path: Path, leases: Leases) -> None:
    path = tmp_path / "new" / "work"
    assert leases.holder(path) is None
    assert current(path) is None
    with taken(leases, path) as lease:
        assert not lease.lost()
        for holder in (leases.acquire(path, "again"), Leases().acquire(path, "again"), current(path)):
            assert isinstance(holder, Holder)
            assert (holder.pid, holder.what) == (os.getpid(), "test")
            assert str(holder).startswith(f"process {os.getpid()} of {holder.host}, since 2")
        assert leases.holder(path) == current(path)
        taken(leases, path.with_name("work.1")).release()  # another lease, though its files' names begin alike
        taken(leases, path.with_name("wor"))
    assert leases.holder(path) is None
    assert lease.lost()
    lease.release()
    taken(leases, path).release()
    assert [file.name for file in path.parent.iterdir()] == ["wor.1"]


def test_all_are_released_at_the_end_of_the_context(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # threads of other tests may be ending
    with Leases(SHORT) as leases:
        for name in "abc":
            taken(leases, tmp_path / name)
        assert [thread.name for thread in set(threading.enumerate()) - before] == ["leases"]
    assert list(tmp_path.iterdir()) == []


def test_of_many_processes_one_gets_each_lease(tmp_path: Path, other: Start) -> None:
    code = """
leases = Leases()
say("ready"); hear()
say(*[i for i in range(40) if isinstance(leases.acquire(folder / str(i), "race"), Lease)])
hear()
"""
    racers = [other(code) for _ in range(6)]
    for racer in racers:
        assert racer.says() == "ready"
    for racer in racers:
        racer.tell()
    assert sorted(int(i) for racer in racers for i in racer.says().split()) == list(range(40))


def test_nobody_is_let_in_between_a_release_and_the_next(tmp_path: Path, other: Start) -> None:
    code = """
leases = Leases()
say("ready"); hear()
for _ in range(15):
    while not isinstance(lease := leases.acquire(folder / "work", "count"), Lease):
        time.sleep(0.001)
    count = int((folder / "count").read_text())
    time.sleep(0.001)
    (folder / "count").write_text(str(count + 1))
    lease.release()
say("done")
"""
    (tmp_path / "count").write_text("0")
    others = [other(code) for _ in range(4)]
    for one in others:
        assert one.says() == "ready"
    for one in others:
        one.tell()
    for one in others:
        assert one.says() == "done"
    assert (tmp_path / "count").read_text() == "60"
    assert [file.name for file in tmp_path.iterdir()] == ["count"]


def test_a_holder_that_lives_keeps_its_lease_far_beyond_its_time(
    tmp_path: Path, other: Start, leases: Leases, clock: Clock
) -> None:
    holder, path = other(ELSEWHERE + HOLD), tmp_path / "work"
    assert holder.says().startswith("Lease")
    first = highest(path)
    for _ in range(4):
        assert leases.holder(path) is not None
        renewed(path)
        clock.now += 0.8 * SHORT
    assert leases.holder(path) is not None
    holder.tell("lost?")
    assert holder.says() == "False"
    last = highest(path)
    assert first is not None
    assert last is not None
    assert last.content == first.content


def test_one_that_is_killed_here_is_known_to_be_dead_at_once(tmp_path: Path, other: Start) -> None:
    holder = other(HOLD)
    assert holder.says().startswith("Lease")
    with Leases(LONG) as leases:
        assert leases.holder(tmp_path / "work") is not None
        holder.end()
        assert current(tmp_path / "work") is None
        assert not taken(leases, tmp_path / "work").lost()


def test_a_dead_one_elsewhere_is_taken_over_by_one_of_many(tmp_path: Path, other: Start) -> None:
    code = """
leases = Leases()
say("ready"); hear()
while getattr(found := leases.acquire(folder / "work", "take over"), "what", "") == "hold":
    time.sleep(0.005)
say(type(found).__name__)
hear()
"""
    holder = other(ELSEWHERE + HOLD)
    assert holder.says().startswith("Lease")
    many = [other(code) for _ in range(6)]
    for one in many:
        assert one.says() == "ready"
    holder.end()
    before = sorted(numbers(tmp_path / "work"))
    for one in many:
        one.tell()
    assert sorted(one.says() for one in many) == ["Holder"] * 5 + ["Lease"]
    assert sorted(numbers(tmp_path / "work")) == [*before, before[-1] + 1]


@pytest.mark.parametrize("released", [False, True])
def test_one_that_was_stopped_and_taken_over_knows_when_it_wakes(
    tmp_path: Path, other: Start, leases: Leases, released: bool
) -> None:
    path = tmp_path / "work"
    holder = other(HOLD)
    assert holder.says().startswith("Lease")
    stop(holder)
    lease = waited_for(leases, path)
    if released:  # and somebody else has it since, in a file of the same name as the first one's
        lease.release()
        lease = taken(leases, path)
        assert numbers(path) == [1]
    holder.process.send_signal(signal.SIGCONT)
    holder.tell("lost?")
    assert holder.says() == "True"
    holder.tell("release")
    assert holder.says() == "None"
    assert not lease.lost()
    assert leases.holder(path) is not None


def test_one_that_was_stopped_and_not_taken_over_goes_on(tmp_path: Path, other: Start, leases: Leases) -> None:
    holder = other(HOLD)
    assert holder.says().startswith("Lease")
    stop(holder)
    before = sorted(numbers(tmp_path / "work"))
    time.sleep(1.5 * SHORT)
    holder.process.send_signal(signal.SIGCONT)
    holder.tell("lost?")
    assert holder.says() == "False"
    after = sorted(numbers(tmp_path / "work"))  # taken anew: whoever was about to take it over is too late
    assert after[: len(before) + 1] == [*before, before[-1] + 1]
    assert leases.holder(tmp_path / "work") is not None
    holder.tell("release")
    assert holder.says() == "None"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("says", ["now() - 10**15", "now() + 10**15", "10**18 - time.monotonic_ns()"])
def test_clocks_that_differ_do_no_harm(tmp_path: Path, other: Start, leases: Leases, clock: Clock, says: str) -> None:
    holder, path = other(f"now = time.time_ns\ntime.time_ns = lambda: {says}\n" + HOLD), tmp_path / "work"
    assert holder.says().startswith("Lease")
    for _ in range(3):
        assert leases.holder(path) is not None
        renewed(path)
        clock.now += 0.8 * SHORT
    assert leases.holder(path) is not None
    stop(holder)
    assert leases.holder(path) is not None
    clock.now += 1.1 * SHORT
    taken(leases, path)


def test_the_time_that_a_holder_has_promised_counts(tmp_path: Path, other: Start, leases: Leases) -> None:
    holder = other(ELSEWHERE + HOLD)
    assert holder.says().startswith("Lease")
    holder.end()
    waited_for(leases, tmp_path / "work").release()


def test_equal_numbers_in_two_containers_are_two_processes(tmp_path: Path, other: Start) -> None:
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("namespaces of process numbers are not permitted here (unshare)")
    first, second = other(HOLD, *apart), other("hear()\n" + HOLD, *apart)
    kind, number = first.says().split()
    second.tell()
    assert (kind, second.says()) == ("Lease", f"Holder {number}")
    assert isinstance(Leases().acquire(tmp_path / "work", "test"), Holder)  # who is outside cannot look either
    first.tell("lost?")
    assert first.says() == "False"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"pid": "x", "ttl": []}', b"[" * 9999])
def test_a_damaged_lease_is_one_of_nobody_known_and_taken_over(
    tmp_path: Path, leases: Leases, clock: Clock, content: bytes
) -> None:
    path = tmp_path / "work"
    (tmp_path / "work.3").write_bytes(content)
    holder = leases.acquire(path, "test")
    assert isinstance(holder, Holder)
    assert str(holder) == "an unknown process"
    with taken_over(leases, path, clock):
        assert sorted(numbers(path)) == [3, 4]
    assert list(tmp_path.iterdir()) == []


def test_other_files_beside_it_are_no_leases(tmp_path: Path, leases: Leases) -> None:
    names = ["work", "work.", "work.01", "work.0", "work.x", "work.-1", "work.1.2", "work.²"]
    for name in names:
        (tmp_path / name).write_text("")
    taken(leases, tmp_path / "work").release()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)


def test_a_crash_before_the_link_blocks_nobody(tmp_path: Path, other: Start, leases: Leases) -> None:
    crashing = other("os.link = lambda *names: os._exit(9)\n" + HOLD)
    assert crashing.says() == ""
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".work.")
    assert leases.holder(tmp_path / "work") is None
    taken(leases, tmp_path / "work")


@pytest.mark.parametrize("place", ["", "elsewhere"])
def test_what_the_dead_have_left_is_cleared_where_it_is_known_and_done(
    tmp_path: Path, other: Start, leases: Leases, place: str
) -> None:
    where = PATIENT + (ELSEWHERE if place else "")
    killed = other(where + HOLD)
    killed.says()
    at_once = "os.link = lambda *names: os._exit(9)\n" + HOLD.replace('"work"', '"crash"')
    crashing = other(where + at_once)
    crashing.says()
    living = other(PATIENT + HOLD.replace('"work"', '"living"'))
    living.says()
    killed.end()
    crashing.process.wait()
    left = sorted(file.name for file in tmp_path.iterdir())
    assert len(left) == 3
    leases.clear(tmp_path, lambda path: path.name != "work")  # the work is not done: its generations still count
    assert "work.1" in [file.name for file in tmp_path.iterdir()]
    leases.clear(tmp_path, lambda path: True)
    assert sorted(file.name for file in tmp_path.iterdir()) == (left if place else ["living.1"])
    leases.clear(tmp_path / "nowhere", lambda path: True)


def failing(number: int) -> Callable[..., None]:
    def fail(*names: object) -> None:
        raise OSError(number, os.strerror(number), str(names[0]))

    return fail


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EROFS, ReadOnlyError), (errno.EACCES, ReadOnlyError), (errno.ENOSPC, DiskError)]
)
def test_where_none_can_be_made_is_one_line(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch, number: int, kind: type
) -> None:
    monkeypatch.setattr("cxrbench.files.generations.os.link", failing(number))
    with pytest.raises(kind, match=f"cannot write to {tmp_path}: {os.strerror(number)}"):
        leases.acquire(tmp_path / "work", "test")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot write to /proc/nowhere"):
        leases.acquire(Path("/proc/nowhere/work"), "test")


def test_a_file_system_without_links_will_do(tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrbench.files.generations.os.link", failing(errno.EPERM))
    path = tmp_path / "work"
    with taken(leases, path) as lease:
        assert not lease.lost()
        assert not Lease(leases, path, "late").take(None)
        assert isinstance(leases.acquire(path, "again"), Holder)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_was_made_though_its_answer_was_lost_counts(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def twice(old: Path, new: Path) -> None:
        real(old, new)
        real(old, new)

    monkeypatch.setattr("cxrbench.files.generations.os.link", twice)
    assert not taken(leases, tmp_path / "work").lost()


def test_who_decides_upon_what_it_saw_long_ago_gets_nothing(tmp_path: Path, leases: Leases, clock: Clock) -> None:
    path = tmp_path / "work"
    (tmp_path / "work.1").write_text("dead")
    seen = highest(path)
    taken_over(leases, path, clock).release()  # another was faster, and is done already
    late = Lease(Leases(), path, "late")
    assert not late.take(seen)
    assert list(tmp_path.iterdir()) == []
    with taken(leases, path) as lease:
        assert not late.take(seen)
        assert numbers(path) == [1]
        assert not lease.lost()


def test_one_that_cannot_be_asked_for_is_lost(tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, cut_off = taken(leases, tmp_path / "a" / "work"), taken(leases, tmp_path / "work")
    shutil.rmtree(tmp_path / "a")
    assert gone.lost()
    gone.release()
    with monkeypatch.context() as patch:
        patch.setattr("cxrbench.files.generations.os.scandir", failing(errno.EIO))
        assert cut_off.lost()
    assert cut_off.lost()


def test_a_forked_child_releases_nothing_of_its_parent(tmp_path: Path, leases: Leases) -> None:
    lease = taken(leases, tmp_path / "work")
    if (pid := os.fork()) == 0:
        leases.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(pid, 0)
    assert not lease.lost()


def test_whoever_is_killed_every_piece_of_work_is_done_once(tmp_path: Path, other: Start) -> None:
    code = """
import random
leases, units = Leases(), random.sample(range(60), 60)
say("ready")
while any(not (folder / f"{i}.done").exists() for i in units):
    for i in units:
        done = folder / f"{i}.done"
        if not done.exists() and isinstance(lease := leases.acquire(folder / f"{i}.lease", "work"), Lease):
            if not done.exists():  # looked up again
                time.sleep(0.005)
                open(done, "x").close()
                open(folder / "log", "a").write(f"{i}\\n")
            lease.release()
say("all")
"""
    workers = [other(code) for _ in range(3)]
    for worker in workers:
        assert worker.says() == "ready"
    for victim in random.Random(0).choices(range(3), k=KILLS):
        workers[victim].end()
        workers[victim] = other(code)
        assert workers[victim].says() == "ready"
    for worker in workers:
        assert worker.says() == "all"  # nobody has found a piece done that it held
    assert {int(file.stem) for file in tmp_path.glob("*.done")} == set(range(60))
    log = (tmp_path / "log").read_text().split()
    assert len(log) == len(set(log)) >= 55
    left = list(tmp_path.glob("[0-9]*.lease.*"))  # of whoever was killed between the work and the release
    assert len(left) <= KILLS
    with Leases(SHORT) as leases:
        for file in left:
            taken(leases, file.with_suffix(""))


def test_what_generations_says_of_names(tmp_path: Path) -> None:
    assert generations.name(tmp_path / "a.lock", 12).name == "a.lock.12"
    assert numbers(tmp_path / "nowhere" / "a") == []
