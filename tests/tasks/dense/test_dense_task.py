"""What protocols on maps make of their options."""

import pytest

from cxrbench.errors import NotApplicableError
from cxrbench.task import Task, TaskOptions
from cxrbench.tasks.dense.detection import TASK as DETECTION
from cxrbench.tasks.dense.segmentation import TASK as SEGMENTATION


@pytest.mark.parametrize("task", [SEGMENTATION, DETECTION])
def test_fine_tuning_does_not_read_augmented_copies(task: Task) -> None:
    frozen = task.configured(TaskOptions(augment=2, epochs=3))
    assert frozen.protocol == f"{task.name}+augment2+epochs3"
    assert "augment" in frozen.reads
    tuned = task.configured(TaskOptions(augment=2, finetune=True))
    assert tuned.protocol == f"{task.name}+finetune"
    assert "augment" not in tuned.reads


@pytest.mark.parametrize("task", [SEGMENTATION, DETECTION])
def test_a_preset_that_is_not_followed_yet_says_so(task: Task) -> None:
    with pytest.raises(NotApplicableError, match=f"sets a recipe that {task.name} does not follow yet"):
        task.configured(TaskOptions(preset="mvmae"))
