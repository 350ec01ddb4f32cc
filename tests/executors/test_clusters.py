"""What may be said of Slurm and of Ray, without either: forms of a time, what each job is told, and what is refused."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxrbench.errors import UserError, WorkGoesOnError
from cxrbench.executors import ray, slurm
from cxrbench.executors.contract import WorkerKind
from cxrbench.executors.slurm_job import WorkerJob, told_by_slurm

Arrays = list[tuple[Sequence[Sequence[str]], Mapping[str, Any]]]
COMMAND = ["python", "-m", "cxrbench", "worker", "--results", "/shared/results"]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), (90, 90), ("1:30", 2), ("1:30:00", 90), ("0:0:1", 1), ("2-12", 3600), ("1-0:30", 1470),
     ("1-0:0:30", 1441)],
)  # fmt: skip
def test_a_time_is_read_as_sbatch_reads_it(text: str | int, minutes: int) -> None:
    assert slurm.minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "soon", "1:2:3:4", "1-", "-5", "1.5", ["1", "2"]])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(UserError, match="is no time"):
        slurm.minutes(text)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """The commands of each array, and the options of sbatch, in place of submitting them."""
    arrays: Arrays = []

    def submit(_: slurm.Slurm, folder: Path, commands: Sequence[Sequence[str]], sbatch: Mapping[str, Any]) -> list[str]:
        assert folder == Path("/shared/results/slurm")
        arrays.append((commands, sbatch))
        return [f"{len(arrays)}_{k}" for k in range(len(commands))]

    monkeypatch.setattr(slurm.Slurm, "_submit", submit)
    return arrays


def test_the_words_of_a_container_stand_before_the_worker(
    submitted: Arrays,
) -> None:
    options = {"time": 60, "container": "apptainer exec --nv 'a b.sif'", "python": "/opt/python", "gres": "gpu:1"}
    slurm.read(2, options).start(COMMAND, [WorkerKind("gpu", 5)])
    ((commands, sbatch),) = submitted
    inside = ["apptainer", "exec", "--nv", "a b.sif", "/opt/python", *COMMAND[1:]]
    assert [list(words) for words in commands] == [[*inside, "--shard", f"{k}/2"] for k in (1, 2)]
    assert sbatch == {"gres": "gpu:1"}


def test_jobs_for_cells_that_need_no_gpu_ask_for_none(
    submitted: Arrays,
) -> None:
    options = {"time": 60, "cpu-workers": "3", "gres": "gpu:1", "gpus-per-node": 1, "partition": "p"}
    placed = slurm.read(8, options).start(COMMAND, [WorkerKind("gpu", 4), WorkerKind("cpu", 2)])
    (gpu, with_gpu), (cpu, without) = submitted
    assert [len(gpu), len(cpu)] == [6, 2]
    assert {words[-1] for words in gpu} == {"gpu-first"}
    assert {tuple(words[-4:]) for words in cpu} == {("--needs", "cpu", "--device", "cpu")}
    assert (with_gpu["gres"], without) == ("gpu:1", {"partition": "p"})
    assert placed.cancel_hint.endswith("scancel 1 2")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What comes of each submission, in place of sbatch; None: it answers."""
    answers: list[BaseException | None] = []

    class Executor:
        def __init__(self, folder: Path, max_num_timeout: int) -> None:
            self.jobs: list[SimpleNamespace] = []

        def update_parameters(self, **_: object) -> None:
            pass

        def submit(self, job: WorkerJob) -> SimpleNamespace:
            self.jobs.append(SimpleNamespace(job_id=""))
            return self.jobs[-1]

        @contextmanager
        def batch(self) -> Iterator[None]:
            yield
            if (answer := answers.pop(0)) is not None:
                raise answer
            for k, job in enumerate(self.jobs):
                job.job_id = f"7_{k}"

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(SlurmExecutor=Executor))
    return answers


@pytest.mark.parametrize("first", [False, True])
def test_ctrl_c_before_sbatch_has_answered_says_how_to_find_the_jobs(
    first: bool, answers: list[BaseException | None]
) -> None:
    answers += [KeyboardInterrupt()] if first else [None, KeyboardInterrupt()]
    options = {"time": 60, "cpu_workers": 1, "job-name": "my run"}
    with pytest.raises(WorkGoesOnError) as interrupted:
        slurm.read(2, options).start(COMMAND, [WorkerKind("gpu", 2), WorkerKind("cpu", 2)])
    known, mark, found = str(interrupted.value).partition("interrupted before sbatch had answered")
    assert known == ("" if first else "the jobs go on in Slurm; to cancel them: scancel 7; ")
    assert "squeue --me '--name=my run' '--format=%F %V %Z'; to cancel them: scancel NUMBER" in found
    assert mark
    assert "\n" not in found
    assert not answers


def test_a_job_names_its_worker_and_has_the_cores_that_slurm_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "CPUS_PER_TASK", "CPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert told_by_slurm() == ["--name", "slurm-17"]
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "16")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert told_by_slurm() == ["--name", "slurm-16_3", "--threads", "4"]


@pytest.mark.parametrize(
    ("workers", "options", "said"),
    [(None, {"time": 1}, "say how many workers"), (2, {}, "say how long"), (2, {"time": 1, "mem": [1, 2]}, "one value"),
     (2, {"time": 1, "--mem": 4}, "no option of sbatch"), (2, {"time": 1, "notice": "soon"}, "a whole number")],
)  # fmt: skip
def test_what_cannot_be_said_of_slurm(workers: int | None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        slurm.read(workers, options)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"gpu": 1}, "did you mean 'gpus'"), ({"gpus": "some"}, "give a number"), ({"cpus": 0}, "give it a core"),
     ({"cpu_workers": 1.5}, "a whole number"), ({"gpus": "-1"}, "give a number"), ({"gpus": "nan"}, "give a number")],
)  # fmt: skip
def test_what_cannot_be_said_of_ray(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ray.executor(2, options)
