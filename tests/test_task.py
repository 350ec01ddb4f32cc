"""The base of every protocol: what it needs, which options it reads, what it is called, and the cell it ends in."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from cxrbench.errors import NotApplicableError, UserError
from cxrbench.task import Cell, DecoderName, OptionName, Task, TaskOptions, lacking, predictions_of
from support.probe_data import SPEC, make


@dataclass(frozen=True, kw_only=True)
class Guess(Task):
    """Reads two options, one of which is its own field."""

    name: str = "guess"
    summary: str = "guesses"
    reads: frozenset[OptionName] = frozenset({"decoder", "augment"})
    decoder: DecoderName | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        return (self.decoder,) if self.decoder else ()


def test_a_protocol_takes_the_options_that_it_reads_and_no_others() -> None:
    task: Any = Guess().configured(TaskOptions(decoder="linear", augment=3, epochs=5))
    assert task == Guess(decoder="linear")
    assert (Guess().protocol, task.protocol, task.version) == ("guess", "guess+linear", "1")


def test_a_preset_that_nothing_follows_is_not_applicable_and_never_silent() -> None:
    with pytest.raises(NotApplicableError, match="preset spcl has no recipe for guess"):
        Guess().configured(TaskOptions(preset="spcl"))
    assert replace(Guess(), reads=frozenset({"preset"})).configured(TaskOptions(preset="spcl"))


def test_an_option_that_is_no_choice_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"--decoder 'mlp': choose from linear, unet, upernet"):
        TaskOptions(decoder="mlp")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--views 3: choose from 1, 2, all"):
        TaskOptions(views=3)  # type: ignore[arg-type]


def test_what_a_dataset_lacks_is_said_in_the_order_of_its_needs() -> None:
    _, manifest = make(60)
    assert Guess().not_applicable(manifest) is None
    images = manifest.images
    assert lacking(replace(manifest, images=images[images["split"] == "val"]), ("train", "val", "test")) == (
        "its train and test split is empty"
    )
    assert lacking(replace(manifest, images=images[images["split"] == "val"]), ("val",)) is None
    for need, words in {"boxes": "boxes", "reports": "reports", "signals": "ECGs or laboratory values"}.items():
        assert lacking(manifest, (need,)) == f"it has no {words}"  # type: ignore[arg-type]
    unlabelled = replace(manifest, labels=(), groups={})
    assert Guess().not_applicable(unlabelled) == "it has no labels"
    noted = replace(unlabelled, notes=("No labels (column dose holds '61' in row 2).", "Read with care."))
    assert Guess().not_applicable(noted) == "it has no labels (column dose holds '61' in row 2)"


def test_predictions_of_a_cell_say_whose_they_are() -> None:
    _, manifest = make(10)
    encoder: Any = SimpleNamespace(spec=SPEC)
    cell = Cell("fake", "toy", "guess", parts={"dataset": "x"})
    found = predictions_of(
        cell, encoder, manifest, manifest.images.iloc[[9, 7]], {"score:a": [0.1, 0.2]}, labels=("a",),
        kind="multilabel", groups={"macro": ("a",)}, facts={"train_images": 6}, notes=("n",),
    )  # fmt: skip
    expected = {"image_id": ["0009", "0007"], "patient_id": ["0009", "0007"], "split": ["test", "val"]}
    pd.testing.assert_frame_equal(found.rows, pd.DataFrame(expected | {"score:a": [0.1, 0.2]}))
    assert found.cell == cell.facts() | {"train_images": 6}
    assert found.dataset == manifest.facts()
    assert found.encoder["fingerprint"] == SPEC.fingerprint
