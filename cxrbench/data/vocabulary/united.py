"""Which labels of several datasets are one: by what they mean, not by how they are spelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrbench.data.vocabulary.tables import agreed, meanings

Key = tuple[str, ...]


@dataclass(frozen=True)
class United:
    """Labels that all datasets of a list have.

    ``labels``: as the first dataset spells them, in its order. ``own``: by dataset, what each of these is called there.
    ``unclear``: lines on labels that were left apart because another dataset has several that mean the same.
    """

    labels: tuple[str, ...]
    own: Mapping[str, Mapping[str, str]]
    unclear: tuple[str, ...] = ()

    def renamed(self) -> dict[str, list[tuple[str, str]]]:
        """By label, the datasets and names where it is spelled otherwise."""
        found: dict[str, list[tuple[str, str]]] = {}
        for dataset, names in self.own.items():
            for label, name in names.items():
                if name != label:
                    found.setdefault(label, []).append((dataset, name))
        return found

    def told(self) -> list[str]:
        """Lines for a reader: what is one label under several names, and what was left apart."""
        one = [
            f"{label} is {' and '.join(f'{name} of {dataset}' for dataset, name in others)}"
            for label, others in self.renamed().items()
        ]
        return [*([f"labels of different names that mean the same: {'; '.join(one)}"] if one else []), *self.unclear]


def united(sets: Sequence[tuple[str, Sequence[str]]]) -> United:
    """The labels that mean the same in all of ``sets`` (name, labels), which keep the first one's names.

    Two labels are one if the table gives them one term; labels that it says are outside are nobody else's. A label that
    is in no table (of a dataset of one's own) has the term that all tabled labels of its name have, or is one with
    labels of exactly its name. No label is used twice; where several would do, one of the same name is taken, else
    none, and that is said.
    """
    (first, labels), *others = sets
    own: dict[str, dict[str, str]] = {first: {label: label for label in labels}}
    unclear: list[str] = []
    for dataset, names in others:
        by_key: dict[Key, list[str]] = {}
        for name in names:
            by_key.setdefault(_key(dataset, name), []).append(name)
        asked: dict[Key, list[str]] = {}
        for label in labels:
            asked.setdefault(_key(first, label), []).append(label)
        found: dict[str, str] = {}
        for key, mine in asked.items():
            theirs = by_key.get(key, [])
            found |= {label: label for label in mine if label in theirs}
            left, free = [one for one in mine if one not in theirs], [one for one in theirs if one not in mine]
            if len(left) == len(free) == 1 and not found.keys() & mine:
                found[left[0]] = free[0]
            elif left and free:
                unclear.append(
                    f"{', '.join(mine)} of {first} and {', '.join(theirs)} of {dataset} mean the same: only labels of "
                    "one name were united"
                )
        own[dataset] = found
    shared = tuple(label for label in labels if all(label in names for names in own.values()))
    return United(shared, {d: {label: names[label] for label in shared} for d, names in own.items()}, tuple(unclear))


def _key(dataset: str, label: str) -> Key:
    """Equal for labels that mean the same. ``rsna.mgca`` is rsna in other splits."""
    if (meaning := meanings().get((dataset.partition(".")[0], label))) is not None:
        return ("term", meaning.term) if meaning.term else ("outside", dataset, label)
    return ("term", agreed()[label]) if label in agreed() else ("name", label)
