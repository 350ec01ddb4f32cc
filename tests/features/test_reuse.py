"""Cache entries that another output has made, finished or not, are made again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxrbench.engine.registry import load_dataset, load_encoder
from cxrbench.errors import UserError
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.pooled import pooled_features
from cxrbench.features.reuse import agrees, check_unchanged, drop_if_changed
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.plugins.loading import fixed_features
from cxrbench.progress import Progress

ONE, OTHER = (FixedFeatures(np.full((2, 8), value, np.float32)) for value in (1, 2))


class Said(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def finish(folder: Path) -> None:
    """What making the rows does in the end."""
    folder.with_suffix(".partial").rename(folder)
    (folder / "meta.json").write_text("{}")


def test_an_entry_is_kept_for_the_same_output_and_deleted_for_another(tmp_path: Path) -> None:
    folder, said = tmp_path / "ab" / "abc", Said()
    partial = folder.with_suffix(".partial")
    drop_if_changed(folder, ONE, "features", "wait", said)
    (partial / "rows").write_text("half of them")
    drop_if_changed(folder, ONE, "features", "wait", said)
    assert (partial / "rows").exists()
    drop_if_changed(folder, OTHER, "features", "wait", said)
    assert [path.name for path in partial.iterdir()] == ["fixed.json"]
    assert said.notes == ["features are made again: its output on two fixed images changed by 50%"]
    finish(folder)
    drop_if_changed(folder, OTHER, "features", "wait", said)
    assert agrees(folder, OTHER)
    check_unchanged(folder, OTHER, "features", found=True)
    with pytest.raises(UserError, match="replaced by another process"):
        check_unchanged(folder, ONE, "features", found=True)
    drop_if_changed(folder, ONE, "features", "wait", said)
    assert not folder.exists()
    assert len(said.notes) == 2


@pytest.mark.parametrize("harm", ["", "{", '{"pooled": 3}'])
def test_an_entry_of_which_nothing_is_known_is_made_again(harm: str, tmp_path: Path) -> None:
    folder, said = tmp_path / "ab" / "abc", Said()
    drop_if_changed(folder, ONE, "features", "wait", said)
    finish(folder)
    (folder / "fixed.json").write_text(harm) if harm else (folder / "fixed.json").unlink()
    drop_if_changed(folder, ONE, "features", "wait", said)
    assert not folder.exists()
    assert len(said.notes) == 1


def test_a_finished_entry_is_served_without_writing(tmp_path: Path) -> None:
    folder = tmp_path / "ab" / "abc"
    drop_if_changed(folder, ONE, "features", "wait", Said())
    finish(folder)
    before = sorted(tmp_path.rglob("*"))
    drop_if_changed(folder, ONE, "features", "wait", Said())
    assert sorted(tmp_path.rglob("*")) == before  # not even a lock


def test_a_damaged_entry_is_made_again_and_then_serves(encoder: str, dataset: Path, encoder_calls: Path) -> None:
    loaded, manifest = load_encoder(encoder, synthetic=False), load_dataset(str(dataset), None, Path)
    options, cache = ExtractOptions(torch.device("cpu"), "fp32", batch_size=60, workers=2), dataset.parent / "cache"

    def features() -> np.ndarray:
        fixed = fixed_features(loaded)
        preprocess = loaded.module.preprocess
        return np.array(
            pooled_features(
                loaded.spec, lambda: loaded.module, preprocess, manifest, cache, options, fixed=fixed
            ).pooled
        )

    whole = features()
    (data,) = cache.glob("features/*/*/pooled.f32")
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    for _ in range(2):
        np.testing.assert_array_equal(features(), whole)
    assert sum(map(int, encoder_calls.read_text().split())) == 240
