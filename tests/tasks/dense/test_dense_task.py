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
def test_a_paper_that_does_not_ask_this_says_so(task: Task) -> None:
    with pytest.raises(NotApplicableError, match=f"preset mvmae has no recipe for {task.name}"):
        task.configured(TaskOptions(preset="mvmae"))


def test_a_preset_names_the_protocol_and_says_how_images_are_augmented() -> None:
    given = (
        TaskOptions(preset="radjepa", augment=2), TaskOptions(preset="radjepa", decoder="upernet-wide"),
        TaskOptions(preset="radjepa", decoder="linear", epochs=3), TaskOptions(preset="fane:official", finetune=True),
    )  # fmt: skip
    tasks = [SEGMENTATION.configured(options) for options in given]
    assert [task.protocol for task in tasks] == [
        "segmentation+preset-radjepa", "segmentation+preset-radjepa", "segmentation+linear+preset-radjepa+epochs3",
        "segmentation+finetune+preset-fane-official",
    ]  # fmt: skip
    assert all("augment" not in task.reads for task in tasks)
    found = [DETECTION.configured(TaskOptions(preset="fane", detector=name)) for name in ("yolov3", "fcos")]
    assert [task.protocol for task in found] == ["detection+preset-fane", "detection+fcos+preset-fane"]
    assert tasks[0].version != SEGMENTATION.version
