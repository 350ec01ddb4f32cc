"""What the protocols on an encoder's maps have in common: frozen or fine-tuned, augmented copies, epochs, presets."""

from dataclasses import dataclass, replace

from cxrbench.data.manifest import Manifest
from cxrbench.passes import BOTH_WAYS
from cxrbench.task import Asked, Cell, OptionName, Task, TaskOptions
from cxrbench.tasks.dense.recipe import DenseRecipe
from cxrbench.tasks.presets.task import PresetTask


@dataclass(frozen=True, kw_only=True)
class DenseTask(PresetTask):
    """A head on the maps of whole images, trained by our recipe or by a paper's.

    By ours, the encoder meets every image once, frozen; with ``copies`` epoch e trains on copy e mod (copies + 1). By a
    paper's that augments, the frozen encoder meets every training image anew in each epoch, which costs as much as
    fine-tuning's forward pass. With ``finetune`` the encoder is trained, too, on images moved anew in every epoch.
    ``epochs``: at most so many.
    """

    reads: frozenset[OptionName] = frozenset({"finetune", "augment", "epochs", "preset"})
    finetune: bool = False
    copies: int = 0
    epochs: int | None = None

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Maps, made once, and a head on them; fine-tuned, the encoder itself."""
        return frozenset({"network"}) if self.finetune else frozenset({"maps", "network"})

    @property
    def settings(self) -> tuple[str, ...]:
        """``finetune``, ``augment2``, ``preset-fane``, ``epochs5``."""
        copies, epochs = [f"augment{self.copies}"] * (self.copies > 0), [f"epochs{self.epochs}"]
        return (
            *["finetune"] * self.finetune, *copies, *self.preset_setting, *epochs * (self.epochs is not None)
        )  # fmt: skip

    def configured(self, options: TaskOptions) -> Task:
        """With the options that it reads. Raises NotApplicableError for a preset without such a recipe.

        With fine-tuning or a preset ``augment`` is not read: the one has copies of its own in every epoch, the other
        says how images are augmented.
        """
        task = super().configured(options)
        assert isinstance(task, DenseTask)
        if options.preset is not None:
            task.paper_settings("", None)
        if options.finetune or options.preset is not None:
            return replace(task, copies=0, reads=self.reads - {"augment"})
        return replace(task, copies=options.augment)

    def recipe(self, dataset: str, fraction: float | None) -> DenseRecipe:
        """How the head is trained on a dataset at a label fraction."""
        raise NotImplementedError

    def images_in_training(self, manifest: Manifest, cell: Cell) -> int:
        """In all steps; where the encoder is trained forward and back, and forward over the images by which it selects
        and those that it predicts. None where maps are made once. Epochs that leave images out count as whole ones.
        """
        recipe = self.shortened(self.recipe(manifest.name, cell.fraction))
        train, val, test = (len(manifest.rows_of(split)) for split in ("train", "val", "test"))
        trained_on = max(recipe.epochs * cell.fraction * train, recipe.min_steps * recipe.batch_size)
        if self.finetune:
            return round(BOTH_WAYS * trained_on + (recipe.looks + 1) * val + test)
        return round(trained_on) if self.preset is not None and recipe.augmentation else 0

    def copy_in(self, epoch: int, recipe: DenseRecipe) -> int:
        """Number of the copy (0: the image itself) that an epoch trains on."""
        if self.preset is not None:
            return epoch + 1 if recipe.augmentation else 0
        return epoch if self.finetune else epoch % (self.copies + 1)

    def shortened(self, recipe: DenseRecipe) -> DenseRecipe:
        """A recipe of at most ``epochs``: a paper's ends earlier, ours is stretched over them."""
        if self.preset is None:
            return recipe.of_epochs(self.epochs)
        return recipe if self.epochs is None else replace(recipe, epochs=min(recipe.epochs, self.epochs))
