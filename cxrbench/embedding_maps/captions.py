"""What is said of a map: its caption, its table of numbers, its coordinates as a CSV."""

import csv
import io
import math
from collections.abc import Mapping

from cxrbench.embedding_maps.embedded import SPLIT_WORDS
from cxrbench.embedding_maps.mapped import EmbeddingMap
from cxrbench.embedding_maps.quality import neighbours


def heading(found: EmbeddingMap) -> str:
    """``SYNTHETIC DATA: ...`` where a phantom is on the map, else nothing."""
    if not found.synthetic:
        return ""
    whose = "" if set(found.synthetic) == set(found.datasets) else f" ({', '.join(found.synthetic)})"
    return f"SYNTHETIC DATA{whose}: drawn by a program, says nothing about patients"


def caption(found: EmbeddingMap, names: Mapping[str, str]) -> str:
    """What the points are and what the numbers mean, in sentences. ``names``: what encoders are called on pictures."""
    n = len(found.image_ids)
    there = {name: found.datasets.count(name) for name in found.of}
    parts = [
        f"{name} ({there[name]:,}{f' of {of:,}, drawn at random' if of > there[name] else ''})"
        for name, of in found.of.items()
    ]
    lines = [
        f"{found.how} of embeddings scaled to length 1: {n:,} {SPLIT_WORDS[found.split]} images of "
        f"{found.patients:,} patients: {', '.join(parts)}.",
        "Silhouette: how far the groups in colour lie apart (1 apart, 0 mixed): full, among the embeddings with all "
        "their numbers; map, as they look here. "
        f"Trustworthiness: how true the map's neighbourhoods of {neighbours(n)} are (1: all of them).",
    ]
    lines += [f"{count:,} unreadable images of {name} are left out." for name, count in found.left_out.items() if count]
    lines += [
        f"†: {names[one.encoder]} was pretrained on images of {', '.join(one.seen)}." for one in found.maps if one.seen
    ]
    lines += [f"{names[one.encoder]}: {what}." for one in found.maps for what in one.assumed]
    return " ".join(lines)


def to_markdown(found: EmbeddingMap, names: Mapping[str, str]) -> str:
    """The numbers as a table: a row per encoder and colouring."""
    from tabulate import tabulate

    of = {one.encoder: one for one in found.maps}
    rows = [
        {
            "Encoder": f"`{names[one.encoder]}`", "By": one.by,
            "Silhouette, embeddings": _number(one.in_embeddings), "Silhouette, map": _number(one.in_map),
            "Groups": one.groups, "Images": f"{one.images:,}",
            "Trustworthiness of the map": _number(of[one.encoder].trustworthiness),
        }
        for one in sorted(found.separations, key=lambda one: [g.by for g in found.groupings].index(one.by))
    ]  # fmt: skip
    table = tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
    counts = [
        f"- {one.by}: " + ", ".join(f"{g.name} {g.images:,}{' (gray)' * g.rest}" for g in one.groups)
        for one in found.groupings
    ]
    return "\n\n".join(filter(None, (heading(found), table, "\n".join(counts), caption(found, names)))) + "\n"


def to_csv(found: EmbeddingMap) -> str:
    """The coordinates: a row per encoder and image, with its group of each colouring; by the encoders' whole names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["encoder", "dataset", "image_id", "split", "x", "y", *(one.by for one in found.groupings)])
    groups = [one.names() for one in found.groupings]
    for one in found.maps:
        for row, (image, dataset, split) in enumerate(zip(found.image_ids, found.datasets, found.splits, strict=True)):
            x, y = one.points[row]
            writer.writerow([one.encoder, dataset, image, split, f"{x:.6g}", f"{y:.6g}", *(of[row] for of in groups)])
    return text.getvalue()


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
