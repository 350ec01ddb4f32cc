"""What an experiment logger is: the whole interface, and how one is found by its name."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from cxrbench.errors import THEIRS, UserError, first_line
from cxrbench.plugins.entry_points import LOGGERS, load_plugin

told = logging.getLogger(__name__)


@runtime_checkable
class ExperimentLogger(Protocol):
    """What keeps the numbers of one run; an entry point of the group ``cxrbench.loggers`` is called to make one.

    Where it keeps them is its own affair (its environment variables say). All three may raise. One that imports a
    package when it begins may name it, ``package = "wandb"``: then it is missed before hours of work, not after.
    """

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """A run begins: what it is called, and what was asked."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, at a step that never goes back."""
        ...

    def end(self) -> None:
        """The run is over, or was stopped."""
        ...


class Careful:
    """A logger that has begun. What it raises later ends it, with a warning, and not the run."""

    def __init__(self, name: str, logger: ExperimentLogger) -> None:
        self.name = name
        self.logger: ExperimentLogger | None = logger

    def log(self, values: Mapping[str, float | None], step: int) -> None:
        """Hand on the numbers that there are."""
        known = {name: float(value) for name, value in values.items() if value is not None}
        if self.logger is not None and known:
            self._tried(lambda logger: logger.log(known, step))

    def end(self) -> None:
        """End it, once."""
        if self.logger is not None:
            self._tried(lambda logger: logger.end())
        self.logger = None

    def _tried(self, call: Any) -> None:
        try:
            call(self.logger)
        except THEIRS as error:
            told.warning("--log %s is given up: %s", self.name, first_line(error))
            self.logger = None


def check_logger(name: str) -> None:
    """Raise UserError, before hours of work, for a logger that is unknown or whose ``package`` is not installed."""
    package = getattr(load_plugin(LOGGERS, name, "logger"), "package", None)
    if package is not None and find_spec(package) is None:
        raise UserError(f"--log {name}: {package} is not installed; pip install 'cxrbench[{name}]'")


def open_logger(name: str, run: str, settings: Mapping[str, Any]) -> Careful:
    """The logger of a name, begun. Raises UserError: unknown, not installed, or it will not begin."""
    try:
        logger = load_plugin(LOGGERS, name, "logger")()
        logger.begin(run, settings)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"--log {name}: {error}; pip install 'cxrbench[{name}]'") from error
    except THEIRS as error:
        raise UserError(f"--log {name} cannot begin: {first_line(error)}") from error
    return Careful(name, logger)
