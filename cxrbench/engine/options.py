"""Options that nobody reads are refused; those that only some of the tasks read are said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from cxrbench.engine.budgets.asked import Budget
from cxrbench.engine.budgets.task import draws_subsets
from cxrbench.engine.elsewhere.task import Elsewhere
from cxrbench.engine.folds import Folded
from cxrbench.errors import UserError
from cxrbench.task import Task, TaskOptions


@dataclass(frozen=True)
class _Asked:
    """An option as it was typed, and which protocols read it."""

    flag: str
    is_read: Callable[[Task], bool]
    note: str = "does not read it"


def unread_options(
    options: TaskOptions,
    planned: Sequence[Task],
    installed: Callable[[], Iterable[Task]],
    *,
    folds: int | None = None,
    seeds: int = 1,
    fractions: Sequence[float] = (1.0,),
    budgets: Sequence[Budget] = (),
) -> list[str]:
    """A remark for every option that some of the planned tasks do not read.

    ``installed``: all protocols, asked for only to say which would read an option. Raises UserError for an option that
    none of the planned tasks reads.
    """
    asked = [_asked(options, entry.name) for entry in fields(options) if getattr(options, entry.name) != entry.default]

    parts = (*fractions, *([0.5] if budgets else []))  # a budget is a part, however large

    def in_folds(task: Task) -> bool:
        inner = task.task if isinstance(task, Elsewhere) else task
        return isinstance(inner, Folded) or not inner.sees_test_truth

    def by_chance(task: Task) -> bool:  # another seed is another partition into folds
        return (folds is not None and in_folds(task)) or any(task.seeds_matter(fraction) for fraction in parts)

    if folds:
        asked.append(_Asked(f"--folds {folds}", in_folds))
    if budgets and budgets[0].count is not None:
        flag = f"--budget {','.join(str(budget.count) for budget in budgets)}"
        asked.append(_Asked(flag, draws_subsets, "trains on no subset"))
    elif budgets:
        asked.append(_Asked(f"--budget-unit {budgets[0].unit}", draws_subsets, "trains on no subset"))
    if seeds > 1:
        note = "has nothing random at these label fractions: one seed is run"
        asked.append(_Asked(f"--seeds {seeds}", by_chance, note))
    remarks = []
    for option in asked:
        deaf = list(dict.fromkeys(task.name for task in planned if not option.is_read(task)))
        if not deaf:
            continue
        if all(not option.is_read(task) for task in planned):
            others = sorted(task.name for task in installed() if option.is_read(task))
            would = f"; {', '.join(others)} would" if others else ""
            if option.flag.startswith("--preset "):
                hints = dict.fromkeys(task.without_preset(options.preset or "") for task in planned)
                would = "".join(f"; {hint}" for hint in hints if hint) or would
            raise UserError(f"{option.flag}: none of the tasks ({', '.join(deaf)}) reads it{would}: leave it out")
        remarks += [f"{option.flag}: {name} {option.note}" for name in deaf]
    return remarks


def _asked(options: TaskOptions, name: str) -> _Asked:
    value = getattr(options, name)
    flag = f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
    return _Asked(flag, lambda task: name in task.reads)
