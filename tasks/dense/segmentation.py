"""Segmentation: a decoder on the maps of a frozen encoder (or of one that is trained with it) outlines the findings."""

from dataclasses import dataclass, replace

from cxrbench.data.annotations.masks import no_masks
from cxrbench.data.manifest import Manifest
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, DecoderName, FrozenEncoder, Need, OptionName, Task, TaskOptions
from cxrbench.tasks.dense.dense_task import DenseTask


@dataclass(frozen=True, kw_only=True)
class Segmentation(DenseTask):
    """The ``segmentation`` protocol.

    Labels are independent (a sigmoid each, Dice + binary cross-entropy) unless the dataset's masks are maps of class
    indices (softmax with background, Dice + cross-entropy). An epoch is every image that shows something and as many
    empty ones, drawn anew. The validation loss chooses the weights; predicted is what has a probability of at least one
    half at the image's own size.
    """

    name: str = "segmentation"
    summary: str = "decoder (U-Net, UPerNet or linear) on frozen maps, or fine-tuned: Dice, IoU"
    needs: tuple[Need, ...] = ("train", "val", "test")
    reads: frozenset[OptionName] = frozenset({"decoder", "finetune", "augment", "epochs"})
    decoder: DecoderName = "unet"

    @property
    def settings(self) -> tuple[str, ...]:
        """``upernet``, and what all dense protocols say."""
        return (*[self.decoder] * (self.decoder != "unet"), *super().settings)

    def configured(self, options: TaskOptions) -> Task:
        """With the decoder, fine-tuning, augmented copies and epochs of the command line."""
        return super().configured(replace(options, decoder=options.decoder or self.decoder))

    def not_applicable(self, manifest: Manifest) -> str | None:
        """A dataset without masks (or boxes of one finding), or without one of the splits, cannot be segmented."""
        return no_masks(manifest) or super().not_applicable(manifest)

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Train on the train split, stop by the validation split, predict validation and test."""
        from cxrbench.tasks.dense.segmenter import segment

        return segment(self, self.decoder, encoder, manifest, cell)


TASK = Segmentation()
