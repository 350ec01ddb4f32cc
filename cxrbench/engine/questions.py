"""What is asked of which dataset: protocols as the options want them, datasets as the protocols want them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cxrbench.data.manifest import Manifest
from cxrbench.engine.budgets.asked import Budget
from cxrbench.engine.budgets.task import Budgeted
from cxrbench.engine.elsewhere.joined import Joined, joined
from cxrbench.engine.elsewhere.task import Elsewhere, told
from cxrbench.engine.folds import Folded
from cxrbench.engine.names import TOGETHER
from cxrbench.engine.registry import dataset_adapters, load_task
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.plugins.listing import list_tasks
from cxrbench.task import Adapts, Task, TaskOptions

Read = Mapping[str, Manifest | UserError]
"""Datasets by what they were called, or why they cannot be read."""


Joins = dict[tuple[str | int, ...], Joined]
"""Datasets that were joined, by what is tested on and by which objects they are."""


class Question(NamedTuple):
    """A protocol and the dataset that it is tested on, or why that cannot be read.

    ``joined``: with the datasets that it is trained on, where these are others.
    """

    task: Task
    manifest: Manifest | UserError
    joined: Joined | None = None


def questions(
    asked: Sequence[tuple[str, str | None]],
    manifests: Read,
    options: TaskOptions,
    *,
    folds: int | None = None,
    train: Sequence[str] = (),
    budgets: Sequence[Budget] = (),
) -> tuple[dict[tuple[str, str, str], Question], tuple[str, ...]]:
    """By (dataset, protocol, budget) what is asked, and remarks on what a dataset cannot be asked.

    ``asked``: (dataset, protocol, or None for all that the dataset can serve and that are not opt-in). ``folds``,
    ``train`` and ``budgets``: as of RunRequest. Raises UserError for a protocol that was named and cannot be configured
    so.
    """
    found: dict[tuple[str, str, str], Question] = {}
    remarks: list[str] = []
    joins: Joins = {}
    for dataset, protocol in asked:
        not_applicable: list[str] = []
        for name in [protocol] if protocol else [line.name for line in list_tasks() if not line.opt_in]:
            try:
                task = load_task(name).configured(options)
            except NotApplicableError as why:
                not_applicable.append(f"{name} ({why})")
                continue
            except UserError as why:  # a broken plugin is no reason to leave the others out
                if protocol is not None:
                    raise
                not_applicable.append(f"{name} ({why})")
                continue
            for budget in budgets or (None,):
                at = (dataset, name, budget.setting if budget else "")
                try:
                    one = Budgeted.of(task, budget) if budget else task
                    if train:
                        found[at] = _elsewhere(one, dataset, train, manifests, folds, joins)
                    elif (question := _at_home(one, manifests[dataset], folds, named=protocol is not None)) is not None:
                        found[at] = question
                except NotApplicableError as why:
                    not_applicable.append(f"{'+'.join(part for part in at[1:] if part)} ({why})")
        if not_applicable:
            remarks.append(f"{dataset} cannot serve: {', '.join(not_applicable)}")
    used = {id(question.joined) for question in found.values()}
    remarks += [line for there in joins.values() if id(there) in used for line in told(there)]
    return found, tuple(remarks)


def _at_home(task: Task, manifest: Manifest | UserError, folds: int | None, *, named: bool) -> Question | None:
    """A protocol that is trained and tested on one dataset; None where it could be, but was not ``named`` and is not
    asked by default. Raises NotApplicableError.
    """
    unasked = not named and isinstance(manifest, Manifest) and not task.by_default(manifest)
    inner = task.task if isinstance(task, Budgeted) else task
    if isinstance(manifest, Manifest) and isinstance(inner, Adapts):
        manifest = inner.adapted(manifest)
    if folds and not task.sees_test_truth:
        task = Folded.of(task, folds)
    if isinstance(manifest, Manifest) and (reason := task.not_applicable(manifest)):
        raise NotApplicableError(reason)
    return None if unasked else Question(task, manifest)


def _elsewhere(
    task: Task, dataset: str, train: Sequence[str], manifests: Read, folds: int | None, joins: Joins
) -> Question:
    """A protocol that is trained on other datasets than it is tested on. Raises NotApplicableError.

    ``joins``: those of this plan; filled here, so that protocols that read the datasets alike share them.
    """
    if not task.elsewhere:
        raise NotApplicableError("not with --train")
    inner = task.task if isinstance(task, Budgeted) else task
    read = {name: manifests[name] for name in (*train, *([] if dataset == TOGETHER else [dataset]))}
    if isinstance(inner, Adapts):
        read = {name: inner.adapted(one) if isinstance(one, Manifest) else one for name, one in read.items()}
    for one in read.values():
        if isinstance(one, UserError):
            return Question(task, one)
    sets = {name: one for name, one in read.items() if isinstance(one, Manifest)}
    at = (dataset, *(id(one) for one in sets.values()))  # a Joined keeps them, so that no other has their ids
    if at not in joins:
        joins[at] = joined([sets[name] for name in train], sets.get(dataset), dataset_adapters())
    there = joins[at]
    outer = Elsewhere.of(task, there, folds)
    if reason := outer.not_applicable(there.manifest):
        raise NotApplicableError(reason)
    return Question(outer, there.tested, there)
