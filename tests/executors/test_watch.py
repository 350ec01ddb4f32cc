"""The submitting side, however it ends: workers that are of this side alone end with it, those of a cluster go on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cxrbench import api
from cxrbench.errors import DiskError, WorkGoesOnError
from cxrbench.executors import watch
from cxrbench.executors.contract import WorkerKind
from support.shared_work import asked


class Workers:
    """An executor, and what it has placed, of no workers at all; ``said``: what they were told."""

    def __init__(self, cancel_hint: str) -> None:
        self.cancel_hint, self.said = cancel_hint, list[str]()

    def start(self, command: Sequence[str], kinds: Sequence[WorkerKind]) -> "Workers":
        return self

    def alive(self) -> int:
        return 1

    def ended_badly(self) -> str:
        return ""

    def finish(self) -> None:
        self.said.append("finish")

    def stop(self) -> None:
        self.said.append("stop")


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("hint", "met", "raised", "said"),
    [
        ("", DiskError("a cell cannot be read"), DiskError, ["stop"]),
        ("", KeyboardInterrupt(), KeyboardInterrupt, ["stop"]),
        ("scancel 7", DiskError("a cell cannot be read"), DiskError, []),
        ("scancel 7", KeyboardInterrupt(), WorkGoesOnError, []),
    ],
)  # fmt: skip
def test_workers_of_this_side_alone_end_with_it(
    hint: str,
    met: BaseException,
    raised: type[BaseException],
    said: list[str],
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def watched(*_: object) -> Iterator[Any]:
        raise met
        yield

    workers = Workers(hint)
    monkeypatch.setattr(watch, "chosen_executor", lambda _: workers)
    monkeypatch.setattr(watch, "watched", watched)
    job = api.prepare(**asked("pixels", dataset, "results"))  # type: ignore[arg-type]
    with pytest.raises(raised):
        list(watch.submitted(job, "any", retries=0))
    assert workers.said == said
