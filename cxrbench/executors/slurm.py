"""Workers as jobs of Slurm, submitted through submitit: one array per kind of worker."""

import importlib.util
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrbench.errors import UserError, WorkGoesOnError, first_line
from cxrbench.executors.contract import WorkerKind
from cxrbench.executors.options import whole
from cxrbench.executors.slurm_job import WorkerJob
from cxrbench.files.names import plain

OURS = ("container", "cpu_workers", "notice", "python", "setup", "time", "timeouts")
"""Options that are no options of sbatch. Any other one is given to sbatch as it is."""
RUNNING = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "REQUEUED", "REQUEUE_FED",
           "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT", "SPECIAL_EXIT", "RESV_DEL_HOLD"}  # fmt: skip
BACK = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT"}
"""Ends that are no fault of the job: where Slurm has not put it back into the queue, the submitting side does."""
TRIES = 20  # of that, for all jobs together
TIMES = (
    r"(?P<m>\d+)(:(?P<s>\d+))?",
    r"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)",
    r"(?P<d>\d+)-(?P<h>\d+)(:(?P<m>\d+)(:(?P<s>\d+))?)?",
)  # fmt: skip
AROUND = ("srun:", "slurmstepd:", "submitit ")
"""How lines of a job's log begin that are not the worker's."""
SLOWEST = 60.0  # seconds that a command of Slurm may take before it counts as no answer


@dataclass(frozen=True)
class Slurm:
    """``workers`` tasks in an array, and ``cpu_workers`` without a GPU in another one, for cells that need none.

    ``time``: minutes that a job may take. ``sbatch``: its other options, by their long names. ``setup``: lines of the
    batch script before the worker. ``container``: words before the worker's command. ``python``: in the container, if
    it is another one there. ``notice``: seconds ahead of the end of its time at which a job is told. ``timeouts``: how
    often a job goes on after the end of its time.
    """

    workers: int
    time: int
    cpu_workers: int = 0
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    python: str = sys.executable
    notice: int = 90
    timeouts: int = 100

    def start(self, command: Sequence[str], kinds: Sequence[WorkerKind]) -> "SlurmJobs":
        """Submit the arrays. Their logs are in the results folder's ``slurm``."""
        units = {kind.needs: kind.units for kind in kinds}
        beside = min(self.cpu_workers, units.get("cpu", 0))
        count = max(1, min(self.workers, sum(units.values())))
        words = [*self.container, self.python, *command[1:]]
        folder = Path(command[command.index("--results") + 1]).absolute() / "slurm"
        first = ("--needs", "gpu-first") if beside else ()
        jobs = self._submit(
            folder, [[*words, "--shard", f"{i + 1}/{count}", *first] for i in range(count)], self.sbatch
        )
        if beside:
            without = {name: value for name, value in self.sbatch.items() if not _is_gpu(name, value)}
            alone = [*words, "--needs", "cpu", "--device", "cpu"]
            try:
                jobs += self._submit(folder, [alone] * beside, without)
            except UserError:
                SlurmJobs(folder, jobs).stop()
                raise
            except WorkGoesOnError as error:
                raise WorkGoesOnError(f"{SlurmJobs(folder, jobs).cancel_hint}; {error}") from error
        return SlurmJobs(folder, jobs)

    def _submit(self, folder: Path, commands: Sequence[Sequence[str]], sbatch: Mapping[str, Any]) -> list[str]:
        """Numbers of the tasks of a new array. Raises UserError with what sbatch says.

        After Ctrl-C before sbatch has answered nobody knows the number: WorkGoesOnError says how to find it.
        """
        import submitit  # pyright: ignore[reportMissingImports]

        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.timeouts)
        names = {name.replace("_", "-"): value for name, value in sbatch.items()}
        name = str(names.pop("job-name", "cxrbench"))
        executor.update_parameters(
            job_name=name, time=self.time, signal_delay_s=self.notice, wckey=None,
            setup=list(self.setup) or None, array_parallelism=len(commands), stderr_to_stdout=True,
            additional_parameters={"requeue": True, **names},
        )  # fmt: skip
        try:
            with executor.batch():
                jobs = [executor.submit(WorkerJob(command)) for command in commands]
        except (RuntimeError, OSError) as error:  # submitit's, with what sbatch wrote
            said = [line for line in str(error).splitlines() if line.startswith("sbatch:")]
            raise UserError(f"Slurm takes no job: {said[-1] if said else first_line(error)}") from error
        except KeyboardInterrupt as error:  # not by the name that all runs share: that would cancel others, too
            look = shlex.join(["squeue", "--me", f"--name={name}", "--format=%F %V %Z"])
            raise WorkGoesOnError(
                "interrupted before sbatch had answered: jobs may be in the queue all the same; their number, when "
                f"they were submitted, and from which folder: {look}; to cancel them: scancel NUMBER"
            ) from error
        return [job.job_id for job in jobs]


def executor(workers: int | None, options: Mapping[str, Any]) -> Slurm:
    """What ``read`` makes of the options. Raises UserError where submitit or Slurm are not installed, too."""
    found = read(workers, options)
    if importlib.util.find_spec("submitit") is None:
        raise UserError("executor slurm needs one package more: pip install 'cxrbench[slurm]'")
    if _answer("sbatch", "--version") is None:
        raise UserError("executor slurm: there is no sbatch here: submit from a machine that has Slurm's commands")
    return found


def read(workers: int | None, options: Mapping[str, Any]) -> Slurm:
    """``slurm:N`` with options of sbatch (``partition``, ``account``, ``gres``, ...) and those of ``Slurm``.

    Raises UserError for a value that cannot be. What sbatch does not know, it refuses itself.
    """
    if workers is None:
        raise UserError("executor slurm: say how many workers, e.g. --executor slurm:8")
    if "time" not in options:
        raise UserError(
            "executor slurm: say how long a job may take, e.g. --executor-option time=4:00:00: "
            "after that it goes back into the queue and goes on"
        )
    ours = {name.replace("-", "_"): value for name, value in options.items() if name.replace("-", "_") in OURS}
    sbatch = {name: value for name, value in options.items() if name.replace("-", "_") not in OURS}
    for name, value in sbatch.items():
        if isinstance(value, (list, dict)) or not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise UserError(f"executor slurm: {plain(name)}={plain(repr(value))} is no option of sbatch with one value")
    setup = ours.get("setup", [])
    return Slurm(
        workers, minutes(ours["time"]), whole("slurm", ours, "cpu_workers", 0), sbatch,
        setup=tuple(map(str, setup if isinstance(setup, list) else [setup])),
        container=tuple(shlex.split(str(ours.get("container", "")))),
        python=str(ours.get("python", sys.executable)),
        notice=whole("slurm", ours, "notice", Slurm.notice),
        timeouts=whole("slurm", ours, "timeouts", Slurm.timeouts),
    )  # fmt: skip


def minutes(text: str | int) -> int:
    """Slurm's forms of a time (``90``, ``1:30:00``, ``2-12``, ...) in whole minutes, rounded up. Raises UserError."""
    for form in TIMES:
        if match := re.fullmatch(form, str(text)):
            parts = {name: int(value or 0) for name, value in match.groupdict().items()}
            whole = parts.get("d", 0) * 1440 + parts.get("h", 0) * 60 + parts["m"] + (parts["s"] > 0)
            if whole:
                return whole
    raise UserError(f"executor slurm: time={plain(repr(text))} is no time: give minutes, H:MM:SS or D-HH:MM")


class SlurmJobs:
    """Placed: tasks of arrays, by their numbers (``12_3``). They go on when the submitting side has ended."""

    def __init__(self, folder: Path, jobs: Sequence[str]) -> None:
        self.folder, self.jobs, self._tries = folder, tuple(jobs), TRIES
        self._states = dict.fromkeys(jobs, "PENDING")

    @property
    def cancel_hint(self) -> str:
        """They go on."""
        return f"the jobs go on in Slurm; to cancel them: {shlex.join(['scancel', *self._arrays])}"

    def alive(self) -> int:
        """How many are in the queue or run. Those that lost their node or their time are put back into the queue."""
        answer = _answer("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T")
        if answer is not None:  # a controller that is restarted says nothing for a while
            lines = dict(line.split() for line in answer.splitlines() if len(line.split()) == 2)
            self._states = {job: lines.get(job, _gone(self._states[job])) for job in self.jobs}
        for job in [job for job, state in self._states.items() if state in BACK]:
            if self._tries and _answer("scontrol", "requeue", job) is not None:
                self._tries -= 1
                self._states[job] = "PENDING"
        return sum(state in RUNNING for state in self._states.values())

    def ended_badly(self) -> str:
        """The states of jobs that did not end by themselves, and the last line of one's log."""
        bad = {job: state for job, state in self._states.items() if state not in {*RUNNING, "COMPLETED"}}
        if not bad:
            return ""
        said = [f"job {job} {state}" for job, state in [*bad.items()][:3]]
        log = self.folder / f"{next(iter(bad))}_0_log.out"
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        own = [line.strip() for line in lines if line.strip() and not line.startswith(AROUND)]
        last = f": {plain(own[-1])}" if own else ""
        return f"{', '.join(said)}{', ...' if len(bad) > 3 else ''} (see {log}{last})"

    def finish(self) -> None:
        """Cancel those that still wait in the queue."""
        _answer("scancel", "--state=PENDING", *self._arrays)

    def stop(self) -> None:
        """Cancel them all, and wait until they are gone."""
        self._tries = 0
        _answer("scancel", *self._arrays)
        for _ in range(60):
            if not self.alive():
                return
            time.sleep(1)

    @property
    def _arrays(self) -> list[str]:
        return list(dict.fromkeys(job.split("_")[0] for job in self.jobs))


def _gone(state: str) -> str:
    """The state of a job of which Slurm knows nothing any more, by its last one: it forgets what has ended."""
    return "COMPLETED" if state in RUNNING else state


def _answer(*command: str) -> str | None:
    """What a command of Slurm prints; None if it fails, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _is_gpu(name: str, value: Any) -> bool:
    return name.startswith("gpu") or (name == "gres" and "gpu" in str(value))
