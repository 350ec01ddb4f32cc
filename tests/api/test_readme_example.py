"""The README's example of the Python functions, run word for word on a small phantom."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import cxrbench
from cxrbench import Preprocess, api
from cxrbench.engine.registry import PHANTOM_MARK

README = Path(__file__).parents[2] / "README.md"


class Small(nn.Module):
    preprocess = Preprocess(size=16, resize="squash", mean=(0.5,), std=(0.25,), channels=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(1)


EXAMPLE = """
import cxrbench
results = cxrbench.run(encoders=["spcl", "imagenet", my_module], tasks=["siim", my_dataframe])   # an nn.Module or a DataFrame will do
results.leaderboard(baseline="imagenet").to_pandas()                                             # also .to_markdown() .to_html() .to_latex()
cxrbench.compare("spcl", "imagenet", results=results); cxrbench.embed("imagenet", images)
"""  # noqa: E501


@pytest.mark.usefixtures("folders")
def test_the_example_runs_word_for_word(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of 40 small images stands for SIIM-ACR: its masks would train three decoders here."""
    dataset.write_text("\n".join(dataset.read_text().splitlines()[:41]) + "\n")
    (dataset.parent / "labels.toml").write_text('name = "siim"\n')
    api.prepare_copy(str(dataset), tmp_path / "data", size=24)
    (tmp_path / "data" / "siim" / PHANTOM_MARK).write_text("{}")
    monkeypatch.setenv("CXRBENCH_DATA", str(tmp_path / "data"))
    frame = pd.read_csv(dataset)
    (dataset.parent / PHANTOM_MARK).write_text("{}")
    frame["image"] = [f"clinic/{name}" for name in frame["image"]]
    images = [np.asarray(Image.open(tmp_path / name)) for name in frame["image"][:3]]
    given = {"my_module": Small(), "my_dataframe": frame, "images": images}
    assert f"```python{EXAMPLE}```" in README.read_text()
    exec(EXAMPLE, given)
    results = given["results"]
    assert isinstance(results, cxrbench.RunResults)
    rows = results.to_pandas()
    assert set(rows["encoder"]) == {"spcl", "imagenet", "Small"}
    assert {task.partition(":")[0].partition("-")[0] for task in rows["task"]} == {"siim", "dataframe"}
    assert rows.loc[rows["metric"].str.startswith("failed")].empty
    board = results.leaderboard(baseline="imagenet", replicates=100)
    table = board.to_pandas()
    assert board.board.baseline == "imagenet"
    assert list(table.columns) == board.to_csv().partition("\n")[0].split(",")
    for text in (board.to_markdown(), board.to_html(), board.to_latex()):
        assert "SYNTHETIC DATA" in text
