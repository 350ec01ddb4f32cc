"""The command line: the composition root. Thin: it parses, calls, prints."""

import os
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from cxrbench import __version__
from cxrbench.cli.calibration import calibration
from cxrbench.cli.cluster.status import status
from cxrbench.cli.cluster.worker import worker
from cxrbench.cli.drawing.embed_map import embed_map
from cxrbench.cli.drawing.plot import plot
from cxrbench.cli.encoders.features import features_app
from cxrbench.cli.encoders.group import encoders_app
from cxrbench.cli.encoders.new import data_new, encoders_new, tasks_new
from cxrbench.cli.inspect import data_app, tasks_app
from cxrbench.cli.leaderboard import compare, leaderboard
from cxrbench.cli.papers.paper import paper
from cxrbench.cli.prepare import data_init, data_prepare
from cxrbench.cli.pretrain import pretrain
from cxrbench.cli.requests import requests
from cxrbench.cli.run import run
from cxrbench.cli.sharing.bundle import bundle
from cxrbench.cli.sharing.cache import cache_app
from cxrbench.cli.sharing.results import results_app
from cxrbench.cli.sharing.splits import splits_app
from cxrbench.cli.showing.attend import attend
from cxrbench.cli.showing.show import show
from cxrbench.cli.verify import verify
from cxrbench.errors import UserError, WorkGoesOnError
from cxrbench.files.names import visible

INTERRUPTED = 130  # exit code of Ctrl-C
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, wherever typer keeps its click

app = typer.Typer(
    name="cxrbench",
    help="Which pretrained chest X-ray encoder is better, on which task, and is the difference real?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app.add_typer(splits_app, name="splits")
data_app.command("prepare")(data_prepare)
data_app.command("init")(data_init)
data_app.command("new")(data_new)
encoders_app.command("new")(encoders_new)
tasks_app.command("new")(tasks_new)
app.add_typer(data_app, name="data")
app.add_typer(encoders_app, name="encoders")
app.add_typer(tasks_app, name="tasks")
app.add_typer(features_app, name="features")
app.add_typer(results_app, name="results")
app.add_typer(cache_app, name="cache")
app.command()(run)
app.command()(worker)
app.command()(status)
app.command()(pretrain)
app.command()(leaderboard)
app.command()(paper)
app.command()(compare)
app.command()(show)
app.command()(plot)
app.command("embed-map")(embed_map)
app.command()(attend)
app.command()(calibration)
app.command()(requests)
app.command()(verify)
app.command()(bundle)


def version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        print(f"cxrbench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Which pretrained chest X-ray encoder is better, on which task, and is the difference real?"""


def main() -> None:
    """Entry point. A user's mistake is one line on stderr and exit code 2; Ctrl-C is 130."""
    # OpenMP's idle threads spin by default and take the cores from the threads that decode (and from other processes):
    # training and extraction on a busy machine ran several times slower. Read when torch is imported, so set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no dash shows its escape
    code: int | None = None
    try:
        code = app(standalone_mode=False)  # typer returns exit codes here, that of Ctrl-C, too
    except UserError as error:
        fail(" ".join(str(error).split()), 2)
    except USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx else "cxrbench"
        fail(f"{error.format_message()} (see {command} --help)", 2)
    except WorkGoesOnError as error:
        fail(str(error), INTERRUPTED)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if code == INTERRUPTED:
        fail("interrupted; what was finished is kept: run the same command again to go on", INTERRUPTED)
    if code:
        sys.exit(code)


def fail(message: str, code: int) -> None:
    """One line, then the exit code."""
    print(visible(f"error: {message}" if code == 2 else message), file=sys.stderr)
    sys.exit(code)
