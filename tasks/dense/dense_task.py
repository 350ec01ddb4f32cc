"""What the protocols on an encoder's maps have in common: frozen or fine-tuned, augmented copies, epochs."""

from dataclasses import dataclass, replace

from cxrbench.errors import NotApplicableError
from cxrbench.task import Asked, OptionName, Task, TaskOptions


@dataclass(frozen=True, kw_only=True)
class DenseTask(Task):
    """A head on the maps of whole images.

    The encoder meets every image once, frozen; with ``copies`` epoch e trains on copy e mod (copies + 1). With
    ``finetune`` it is trained, too, on images augmented anew in every epoch. ``epochs``: at most so many.
    """

    reads: frozenset[OptionName] = frozenset({"finetune", "augment", "epochs"})
    finetune: bool = False
    copies: int = 0
    epochs: int | None = None

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Maps, made once, and a head on them; fine-tuned, the encoder itself."""
        return frozenset({"network"}) if self.finetune else frozenset({"maps", "network"})

    @property
    def settings(self) -> tuple[str, ...]:
        """``finetune``, ``augment2``, ``epochs5``."""
        copies, epochs = [f"augment{self.copies}"] * (self.copies > 0), [f"epochs{self.epochs}"]
        return (*["finetune"] * self.finetune, *copies, *epochs * (self.epochs is not None))

    def configured(self, options: TaskOptions) -> Task:
        """With fine-tuning, augmented copies and epochs. Raises NotApplicableError for any preset.

        With fine-tuning ``augment`` is not read: there every epoch has copies of its own.
        """
        if options.preset is not None:
            raise NotApplicableError(
                f"preset {options.preset} sets a recipe that {self.name} does not follow yet: run it without --preset"
            )
        if options.finetune:
            return replace(super().configured(options), copies=0, reads=self.reads - {"augment"})
        return replace(super().configured(options), copies=options.augment)

    def copy_in(self, epoch: int) -> int:
        """Number of the copy (0: the image itself) that an epoch trains on."""
        return epoch if self.finetune else epoch % (self.copies + 1)
