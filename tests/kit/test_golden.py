"""Golden features: what was given elsewhere is compared with what is given here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrbench.api import check_encoder, store_golden
from cxrbench.encoders.families.published.catalogue import published
from cxrbench.errors import UserError
from cxrbench.kit import golden
from cxrbench.kit.golden import FOLDER, GoldenFeatures, shipped
from cxrbench.kit.images import images_sha256, phantom_images
from cxrbench.kit.report import PluginCheck
from support.command import cxrbench as command
from support.published.vit_files import vit_file

pytestmark = pytest.mark.usefixtures("folders")
SHIPPED = sorted(path.stem for path in (Path(golden.__file__).parent / FOLDER).glob("*.json"))


def compared(spec: str, file: str | None = None) -> PluginCheck:
    return {one.check: one for one in check_encoder(spec, golden=file).checks}["golden features"]


def test_what_is_stored_is_given_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = command(monkeypatch, capsys, "encoders", "check", "pixels", "--store", "p.json")
    stored = GoldenFeatures.load(Path("p.json"))
    assert (code, stored.pooled.shape, stored.encoder) == (0, (8, 256), "pixels")
    pixels = [image.mean() for image in phantom_images()]  # squashed to a square, the mean stays
    assert stored.pooled.mean(1) == pytest.approx(np.array(pixels), abs=2e-3)
    found = compared("pixels", "p.json")
    assert (found.state, found.found) == (
        "pass", "least cosine 1.0000000, largest difference 0; all library versions are the same",
    )  # fmt: skip


def test_what_differs_is_said() -> None:
    store_golden("pixels", "p.json")
    stored = GoldenFeatures.load(Path("p.json"))
    older = {**stored.versions, "torch": "1.0", "flash": "2"}
    replace(stored, pooled=stored.pooled[::-1] * 1.01, versions=older).save(Path("q.json"))
    found = compared("pixels", "q.json")
    assert found.state == "mend"
    assert f"torch 1.0 there, {stored.versions['torch']} here; flash 2 there, none here" in found.found
    assert found.advice.startswith("install the versions that are named")
    cosine = (stored.pooled * stored.pooled[::-1]).sum(1) / np.linalg.norm(stored.pooled, axis=1)
    cosine = cosine / np.linalg.norm(stored.pooled[::-1], axis=1)
    largest = np.abs(stored.pooled - 1.01 * stored.pooled[::-1]).max()
    assert found.found.startswith(f"least cosine {cosine.min():.7f}, largest difference {largest:.2g}")
    replace(stored, pooled=stored.pooled * 2, weights_sha256="0").save(Path("r.json"))
    assert compared("pixels", "r.json").advice.startswith("the weights are others")
    replace(stored, pooled=stored.pooled * 2, preprocess="Preprocess()").save(Path("s.json"))
    assert "it was Preprocess()" in compared("pixels", "s.json").advice
    replace(stored, pooled=stored.pooled[:, :9]).save(Path("t.json"))
    assert "256 numbers per image here, 9 there" in compared("pixels", "t.json").found
    replace(stored, images_sha256="0", pooled=stored.pooled * 2).save(Path("u.json"))
    assert compared("pixels", "u.json").state == "remark"
    replace(stored, pooled=stored.pooled * (1 + 1e-6), versions=older).save(Path("v.json"))
    assert compared("pixels", "v.json").state == "pass"


def test_files_that_hold_none() -> None:
    Path("a.json").write_text("{}")
    for file, why in (("a.json", "is damaged"), ("b.json", "no file")):
        with pytest.raises(UserError, match=why):
            check_encoder("pixels", golden=file)


@pytest.mark.parametrize("name", SHIPPED)
def test_those_that_ship_are_read_and_are_of_these_images(name: str) -> None:
    known = shipped(name)
    assert known is not None
    assert (known.encoder, known.images_sha256) == (name, images_sha256())
    assert np.isfinite(known.pooled).all()
    assert {"torch", "timm", "numpy", "python"} <= known.versions.keys()


def test_those_of_a_published_encoder_are_found_by_its_name_wherever_its_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contributed once under ``file_name``, they are compared with whatever is named ``cxr:NAME@FILE``."""
    spec = f"cxr:medical-mae-small@{vit_file(published('medical-mae-small'), tmp_path).path}"
    assert golden.file_name("cxr:rad-dino") == "cxr.rad-dino.json"
    (tmp_path / FOLDER).mkdir()
    store_golden(spec.removeprefix("cxr:"), tmp_path / FOLDER / golden.file_name("cxr:medical-mae-small"))
    monkeypatch.setattr(golden, "files", lambda package: tmp_path)
    found = compared(spec.removeprefix("cxr:"))
    assert (found.state, "least cosine 1.0000000" in found.found) == ("pass", True)
    with pytest.raises(UserError, match="unknown encoder 'medical-mae-tiny'"):
        check_encoder("medical-mae-tiny")


def test_a_shipped_encoder_gives_what_it_gave() -> None:
    assert len(SHIPPED) >= 9
    found = compared("spcl")
    assert (found.state, found.found.startswith("least cosine 1.0000000, ")) == ("pass", True)
    assert compared("random").found == "none are known of this encoder; --store FILE writes them"
