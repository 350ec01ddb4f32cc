"""Segmentation: a decoder on the maps of a frozen encoder (or of one that is trained with it) outlines the findings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxrbench.data.annotations.masks import no_masks
from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, DecoderName, FrozenEncoder, Need, OptionName
from cxrbench.tasks.dense.dense_task import DenseTask
from cxrbench.tasks.dense.recipe import SegmentationRecipe

FINETUNED = SegmentationRecipe.ours(1e-3, epochs=8, min_steps=200)
RATES: Mapping[DecoderName, float] = {"linear": 2e-2, "unet": 2e-3, "upernet": 2e-3}
WIDE_RATE = 5e-4
"""Few epochs: on cached maps of a frozen encoder a U-Net is as good after 8 as after 12, and a cell should take half a
minute on two cores. Small training sets get 200 steps all the same. The decoders of published width learn at the rate
that their papers share."""


@dataclass(frozen=True, kw_only=True)
class Segmentation(DenseTask):
    """The ``segmentation`` protocol.

    Labels are independent (a sigmoid each, Dice + binary cross-entropy) unless the dataset's masks are maps of class
    indices (softmax with background, Dice + cross-entropy). An epoch is every image that shows something and as many
    empty ones, drawn anew. The validation loss chooses the weights; predicted is what has a probability of at least one
    half at the image's own size. ``decoder``: None is our U-Net, or that of the preset, which says all of the above.
    """

    name: str = "segmentation"
    section: str = "segmentation"
    summary: str = "decoder (U-Net, UPerNet, ViTDet, linear, ...) on frozen maps, or fine-tuned: Dice, IoU"
    needs: tuple[Need, ...] = ("train", "val", "test")
    reads: frozenset[OptionName] = frozenset({"decoder", "finetune", "augment", "epochs", "preset"})
    decoder: DecoderName | None = None

    @property
    def settings(self) -> tuple[str, ...]:
        """``upernet``, where another decoder than the recipe's is wanted, and what all dense protocols say."""
        usual = replace(self, decoder=None).recipe("", None).decoder
        return (*[self.decoder or usual] * (self.decoder not in (None, usual)), *super().settings)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without masks (or boxes of one finding), or without one of the splits, cannot be segmented."""
        return no_masks(manifest) or super().not_applicable(manifest)

    def recipe(self, dataset: str, fraction: float | None) -> SegmentationRecipe:
        """How the decoder is trained on a dataset at a label fraction."""
        if self.preset is not None:
            recipe = SegmentationRecipe.of(self.paper_settings(dataset, fraction), f"{dataset}:{self.name}")
            return replace(recipe, decoder=self.decoder or recipe.decoder)
        decoder = self.decoder or "unet"
        rate = FINETUNED.learning_rate if self.finetune else RATES.get(decoder, WIDE_RATE)
        return replace(FINETUNED, decoder=decoder, learning_rate=rate)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, stop by the validation split, predict validation and test."""
        from cxrbench.tasks.dense.segmenter import segment

        return segment(self, self.recipe(manifest.name, cell.fraction), encoder, manifest, cell)


TASK = Segmentation()
