"""An image whose file leaves no gray values is a bad image: skipped if asked, never the encoder's fault."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import BadImageError
from cxrbench.features.extract import ExtractOptions
from cxrbench.features.pooled import PooledFeatures, pooled_features
from support.dicom_files import write_dicom

OPTIONS = ExtractOptions(torch.device("cpu"), "fp32", batch_size=8, workers=2)


@pytest.mark.parametrize("tags", [{"RescaleSlope": "nan"}, {"RescaleSlope": "0"}, {"RescaleIntercept": "inf"}])
def test_an_image_without_gray_values_is_skipped(tmp_path: Path, tags: dict[str, Any]) -> None:
    rows = []
    for n in range(4):
        pixels = np.random.default_rng(n).integers(0, 4096, (20, 20), np.uint16)
        scale: dict[str, Any] = {"RescaleSlope": "1", "RescaleIntercept": "0"} | (tags if n == 2 else {})
        write_dicom(tmp_path / f"{n}.dcm", pixels, bits_stored=12, WindowCenter="nan", WindowWidth="4000", **scale)
        rows.append((f"i{n}", f"p{n}", f"s{n}", "", "train", f"{n}.dcm", 1, float(n % 2)))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes", "Mass"]
    manifest = Manifest("toy", tmp_path, pd.DataFrame(rows, columns=columns), ("Mass",))
    pixels = load_encoder("pixels", synthetic=False)

    def features(skip_bad: bool) -> PooledFeatures:
        return pooled_features(
            pixels.spec, lambda: pixels.module, pixels.module.preprocess, manifest, tmp_path / "cache", OPTIONS,
            skip_bad=skip_bad,
        )  # fmt: skip

    with pytest.raises(BadImageError, match=r"2\.dcm.*leave no gray values"):
        features(skip_bad=False)
    found = features(skip_bad=True)
    assert [Path(path).name for path, _ in found.bad] == ["2.dcm"]
    assert np.isfinite(found.pooled[[0, 1, 3]]).all()
