"""``cxrbench worker``: one of several processes that do what was asked of a results folder."""

import os
import random
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.cluster.options import LeaseOption, ShardOption, interruptible, parse_shard
from cxrbench.cli.console import RunBars, bar
from cxrbench.cli.failures import FAILED, failure_table
from cxrbench.cli.options import CacheOption, DataOption, EcgTeacherOption, LabsTeacherOption, ResultsOption
from cxrbench.cores import THREADS
from cxrbench.errors import chosen
from cxrbench.files.names import visible

ALONE = 60.0  # seconds that a worker has to keep what it is at, once whoever started it has ended


def worker(
    results: ResultsOption = Path("results"),
    request: Annotated[
        str, typer.Option(help="Which one: how its hash begins (`cxrbench requests`); not needed where there is one.")
    ] = "",
    needs: Annotated[
        str,
        typer.Option(help="Take cells of all kinds (any), only those that need a GPU, or a cpu; or gpu-first."),
    ] = "any",
    name: Annotated[str, typer.Option(help="What this worker is called in what it says.")] = "worker",
    shard: ShardOption = None,
    retries: Annotated[int, typer.Option(min=0, help="Try a cell that failed again, so often.")] = api.RETRIES,
    lease: LeaseOption = 60.0,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when nothing is free, instead of waiting for what others do.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of this worker; 0: as many as there are.")] = 0,
    data: DataOption = None,
    cache: CacheOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16: the same for all workers.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images per encoder call.")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Images with more pixels are refused before decoding.")
    ] = None,
    cache_limit: Annotated[str | None, typer.Option(help="Room on disk for dense maps, e.g. 500MB or 1.5TB.")] = None,
    text_encoder: Annotated[
        Path | None, typer.Option(help="Folder of a transformers sentence encoder, for reports.")
    ] = None,
    ecg_teacher: EcgTeacherOption = None,
    labs_teacher: LabsTeacherOption = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No bars, no summary: only what should be known.")] = False,
) -> None:
    """Work on a request of a results folder, together with any number of such processes, on this machine or others.

    For array jobs, Kubernetes or three terminals: all that they share is the results folder, the cache and the data.
    A cell is claimed by a lease; a worker that dies is taken over by another one. Options about folders, device and
    batches are as they were when the run was asked for, unless they are said again.

    Examples:

      cxrbench worker

      cxrbench worker --results /scratch/results --request 3f9a --shard 2/8 --device cuda:1
    """
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads:
        for variable in THREADS:
            os.environ[variable] = str(threads)
    share = parse_shard(shard)
    start = (share[0] - 1) / share[1] if share else random.random()  # workers that begin alike get in each other's way
    manner = api.Manner(start, chosen("--needs", api.Wanted, needs), retries, lease, until_idle)
    interruptible()
    failed: list[api.Outcome] = []
    counts = {"computed": 0, "failed": 0, "not applicable": 0, "done elsewhere": 0}
    progress = bar()
    bars = RunBars(progress)
    with nullcontext() if quiet else progress:
        said = {
            "data": data, "cache": cache, "device": device, "precision": precision, "batch_size": batch_size,
            "max_pixels": max_pixels, "cache_limit": cache_limit, "text_encoder": text_encoder,
            "ecg_teacher": ecg_teacher, "labs_teacher": labs_teacher, "workers": min(threads, 16) or None,
        }  # fmt: skip
        job = api.requested_job(results, request, progress=bars, **said)
        left = [row for row in api.planned(job) if row["state"] not in ("done", "not applicable")]
        cells = progress.add_task("cells", total=len(left))
        for outcome in api.outcomes(job, bars, manner=manner):
            counts[outcome.state] += 1
            failed += [outcome] if outcome.state == "failed" else []
            progress.advance(cells)
            bars.done()
    if not quiet:
        told = [f"{count} {state}" for state, count in counts.items() if count]
        print(visible(f"{name}: {', '.join(told) or 'nothing was left to do'}."))
        if failed:
            print(failure_table(failed), file=sys.stderr)
    if failed:
        raise typer.Exit(FAILED)


def _end_with_parent() -> None:
    """Wait until nobody can write to this process any more: whoever started it has ended. Then so does this one."""
    while os.read(sys.stdin.fileno(), 1024):  # not through a buffer, whose lock would outlive this thread
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ALONE)
    os.kill(os.getpid(), signal.SIGKILL)  # an encoder's code has swallowed the interruption, or never came to it
