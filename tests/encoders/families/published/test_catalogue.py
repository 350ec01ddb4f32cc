"""The published encoders: every name resolves, every fact has a source or is marked, nothing is slow or guessed."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cxrbench.encoders.families.published.catalogue import (
    FOLDER,
    SHARED,
    catalogue,
    of_repository,
    of_sha256,
    published,
)
from cxrbench.encoders.families.published.entry import BY_ID, FACTS, PublishedEncoder, entry_of
from cxrbench.encoders.families.published.entry import SAID as SAID_ALWAYS
from cxrbench.encoders.families.published.plugin import FAMILIES, LAYOUTS
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError

ROWS = {  # of the table of encoders that comparisons use
    "rad-dino", "rad-dino-maira-2", "cxformer-small", "cxformer-base", "medsiglip-448",
    *(f"{name}-{size}" for name in ("xraysiglip", "xrayclip") for size in ("b-16", "b-16-512", "l-14", "l-16-384")),
    "biomedclip", "chexzero", "carzero", "dinov2-base", "dinov3-base", "convnext-base",
    "imagenet-vit-base", "deit-base", "resnet50", "xrv-densenet121-all", "xrv-resnet50-all", "xrv-densenet121-nih",
    "ark-plus", "eva-x-tiny", "eva-x-small", "eva-x-base", "chexfound", "chexworld", "mrm", "maco", "medical-mae-base",
    "biovil-t", "gloria", "mgca-vit", "mgca-resnet50", "medklip", "prior", "m-flag", "chexagent-vision", "ijepa-huge",
    "radimagenet-resnet50", "radjepa",
}  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No downloads here, no hub."""
    monkeypatch.setenv("CXRBENCH_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True, raising=False)
    monkeypatch.setattr("cxrbench.encoders.families.hub.reachable", lambda endpoint: False)

    def offline(name: str) -> None:
        raise UserError(f"cannot fetch the weights of timm:{name}")

    monkeypatch.setattr("cxrbench.encoders.families.timm.download", offline)  # it builds the network first: seconds
    return tmp_path / "encoders"


def test_every_row_is_there() -> None:
    assert set(catalogue()) >= ROWS


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda e: e.name)
def test_every_fact_has_a_source_or_is_marked_unverified(entry: PublishedEncoder) -> None:
    assert {*entry.sources, *entry.unverified} == set(FACTS)
    assert not set(entry.sources) & set(entry.unverified)
    assert all(len(source) > 5 for source in entry.sources.values())
    said = (entry.title, entry.architecture, entry.maps, entry.pooling, entry.licence, entry.citation, entry.download)
    assert all(said)
    assert 2010 < entry.year < 2100
    assert entry.parameters is not None
    assert entry.loader in {*FAMILIES, *LAYOUTS}
    if "sha256" not in entry.unverified:
        assert len(entry.sha256) >= 8
    assert entry.pretrained_on  # imagenet and the like where these are no chest X-rays


def tables() -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    """Every entry as its file has it: its own table, what its family shares, and the file's name."""
    found = {}
    for path in sorted(FOLDER.glob("*.toml")):
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
        shared = whole.pop(SHARED, {})
        found |= {name: (table, shared, path.name) for name, table in whole.items()}
    return found


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_card_that_loses_a_field_or_a_source_is_refused(name: str) -> None:
    table, shared, where = tables()[name]
    whole = {**shared, **table}
    whole |= {key: {**shared.get(key, {}), **table.get(key, {})} for key in ("sources", "preprocess", "options")}
    entry = entry_of(name, table, shared, where)
    whole |= {"sources": dict(entry.sources), "unverified": list(entry.unverified)}
    assert entry_of(name, whole, {}, where) == entry
    lost = {key for key in whole if accepted(name, {k: v for k, v in whole.items() if k != key})}
    needed = {"weights": "id" if entry.loader in BY_ID else "file", "preprocessing": "preprocess"}
    kept = {needed.get(fact, fact) for fact in FACTS if fact not in entry.unverified} | {*SAID_ALWAYS, "loader"}
    assert not lost & kept
    for fact in entry.sources:
        assert not accepted(name, whole | {"sources": {k: v for k, v in entry.sources.items() if k != fact}}), fact
    for fact in entry.unverified:
        assert not accepted(name, whole | {"unverified": [one for one in entry.unverified if one != fact]}), fact


def accepted(name: str, table: dict[str, Any]) -> bool:
    try:
        return entry_of(name, table, {}, "file.toml") is not None
    except (UserError, KeyError):
        return False


@pytest.mark.parametrize("name", sorted(ROWS - {"radjepa"}))
def test_every_name_resolves_and_says_how_to_get_the_weights(name: str, nowhere: Path) -> None:
    with pytest.raises(UserError) as told:
        load_encoder(f"cxr:{name}", synthetic=False)
    assert f"cxr:{name} ({published(name).title}) has no weights here" in str(told.value)
    assert f"`cxrbench encoders download {name}`" in str(told.value)
    assert str(nowhere / name) in str(told.value)
    assert "\n" not in str(told.value)


def test_names_that_are_not_there(nowhere: Path) -> None:
    with pytest.raises(UserError, match="unknown published encoder 'rad-dyno': did you mean 'rad-dino'"):
        load_encoder("cxr:rad-dyno", synthetic=False)
    with pytest.raises(UserError, match=r"cxr takes a name.*list --published"):
        load_encoder("cxr", synthetic=False)
    with pytest.raises(UserError, match=r"cxr:mrm@none.pth: there is no such file"):
        load_encoder("cxr:mrm@none.pth", synthetic=False)


def test_by_repository_and_by_sha256() -> None:
    assert of_repository("hf", "Microsoft/RAD-DINO") == published("rad-dino")
    assert of_repository("hf", "nobody/nothing") is None
    assert of_repository("eva", "MapleF/eva_x") is None  # three encoders live there
    assert of_sha256("0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a") == published("resnet50")
    assert of_sha256("f" * 64) is None


SAID: dict[str, Any] = {
    "title": "X", "loader": "vit", "architecture": "a", "maps": "m", "pooling": "p", "licence": "MIT", "citation": "c",
    "year": 2024, "gated": False, "pretrained_on": ["nih"], "parameters": 3, "sha256": "0123456789", "file": "w.pth",
    "download": ["get it"],
    "preprocess": {"mean": [0.5], "std": [0.5]}, "sources": dict.fromkeys(FACTS[2:], "a place"),
    "unverified": ["weights", "revision"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": {}}, "no source of architecture, preprocessing"),
        ({"unverified": ["weights"]}, "no source of revision"),
        ({"sources": {**SAID["sources"], "colour": "x"}}, "colour is no fact"),
        ({"loader": "magic"}, "loader 'magic' is none of"),
        ({"licens": "MIT"}, "licens"),
        ({"preprocess": {"mean": [0.5]}}, "std"),
    ],
)
def test_an_entry_that_says_too_little_is_refused(change: dict[str, Any], message: str) -> None:
    assert entry_of("x", SAID, {}, "file.toml").unverified == ("weights", "revision")
    with pytest.raises(UserError, match=message):
        entry_of("x", SAID | change, {}, "file.toml")


def test_what_a_family_shares_can_be_contradicted() -> None:
    shared = {"sources": {"licence": "their page"}, "unverified": ["weights"]}
    sources = {fact: "a place" for fact in FACTS if fact not in ("licence", "revision")}
    entry = entry_of("x", SAID | {"sources": sources, "unverified": ["revision", "licence"]}, shared, "f")
    assert entry.unverified == ("revision", "licence")
    assert entry.sources["weights"] == "a place"


def test_the_list_needs_no_torch() -> None:
    code = (
        "from cxrbench import api; import sys; assert len(api.list_published()) > 40; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
