"""Which of a paper's published encoders have their files on this machine: told without building one, or a download."""

from collections.abc import Iterable, Mapping

from cxrbench.papers.paper import PaperEncoder

NOT_HERE = "-"


def published_places(asked: Iterable[PaperEncoder]) -> dict[str, str]:
    """By ``cxr:NAME`` where its files are (a path, the hub's cache), ``-`` where they are not here."""
    from cxrbench.api.installed import list_published

    if not any(one.spec.startswith("cxr:") for one in asked):
        return {}
    return {line.entry.spec: line.where for line in list_published()}


def to_download(spec: str) -> str:
    """One line: how its files are had."""
    return f"the files of {spec} are not here: `cxrbench encoders download {spec}` says how to get them"


def not_here(specs: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """Of encoders by name, each with its spec, those whose files are not here, and what to do."""
    return {name: to_download(spec) for name, spec in specs.items() if places.get(spec) == NOT_HERE}
