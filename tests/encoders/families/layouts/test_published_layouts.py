"""Every layout of a published file, written here name for name, gives what another's code of that network gives."""

from pathlib import Path

import pytest
import torch

from cxrbench.encoders.families.published.catalogue import catalogue, published
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from support.published.builders import BUILDERS
from support.published.files import images_for

OF_FILES = [name for name, entry in catalogue().items() if entry.loader in BUILDERS]
ONE_OF_EACH = [n for n in OF_FILES if not n.startswith("xrv-densenet121-") or n.endswith("-all")]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_file_of_the_published_layout_gives_the_networks_features(name: str, tmp_path: Path) -> None:
    entry = published(name)
    written = BUILDERS[entry.loader](entry, tmp_path)
    loaded = load_encoder(f"cxr:{name}@{written.path}", synthetic=False)
    images = images_for(entry)
    with torch.inference_mode():
        pooled, maps = loaded.module(images)
        torch.testing.assert_close(pooled, written.expected(images), atol=2e-5, rtol=2e-4)
    assert len(maps) == (0 if entry.maps.startswith("none") else 4)
    assert loaded.module.preprocess == entry.preprocess
    card = loaded.spec.card
    assert (card.method, card.licence, card.pretrained_on) == (entry.title, entry.licence, entry.pretrained_on)


@pytest.mark.parametrize("name", ["ark-plus", "eva-x-small", "chexfound", "gloria", "xrv-densenet121-all", "biovil-t"])
def test_a_file_of_another_layout_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    torch.save({"model": {"stem.weight": torch.zeros(3, 3), "head.bias": torch.zeros(2)}}, tmp_path / "x.pth")
    with pytest.raises(UserError) as refused:
        load_encoder(f"cxr:{name}@{tmp_path / 'x.pth'}", synthetic=False)
    assert "\n" not in str(refused.value)
    assert "x.pth" in str(refused.value)
