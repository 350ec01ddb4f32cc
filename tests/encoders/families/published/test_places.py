"""Downloads: the exact commands, running them, and finding what came; the card is found by content, offline."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from cxrbench.encoder import Preprocess
from cxrbench.encoders.families.published import catalogue as catalogue_module
from cxrbench.encoders.families.published import recognised
from cxrbench.encoders.families.published.catalogue import published
from cxrbench.encoders.families.published.download import RECORD, commands, run, runnable
from cxrbench.encoders.families.published.places import found_here
from cxrbench.encoders.families.published.recognised import card_of_folder
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from support.published.vit_files import eva_file, plain_vit, vit_file

GRAY = Preprocess(224, mean=(0.5,), std=(0.5,))


@pytest.fixture
def encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXRBENCH_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setattr("cxrbench.encoders.families.hub.reachable", lambda endpoint: False)
    return tmp_path / "encoders"


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name, found before any other."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)
    module = "cxrbench.encoders.families.published.download"
    monkeypatch.setattr(f"{module}._program", lambda word: str(folder / word))


def test_the_commands_are_exact(encoders: Path) -> None:
    assert commands(published("eva-x-small")) == [
        f"hf download MapleF/eva_x eva_x_small_patch16_merged520k_mim.pt --local-dir {encoders / 'eva-x-small'}"
    ]
    assert commands(published("biovil-t"), Path("/w"))[0].endswith("--revision v1.0 --local-dir /w")
    code = commands(published("xrv-densenet121-nih"), Path("/w"))[1]
    assert "DenseNet(weights='densenet121-res224-nih').state_dict(), '/w/densenet121-res224-nih.pt')" in code


def test_what_a_person_must_do_is_not_run(encoders: Path) -> None:
    for name in ("ark-plus", "medsiglip-448", "mrm", "xrv-densenet121-all"):
        assert not runnable(published(name))
        with pytest.raises(UserError, match=r"cannot be fetched by a program: (ask|hf auth|open|pip)"):
            run(published(name))
    assert not encoders.exists()


def test_a_download_is_run_recorded_and_found_by_its_name(
    encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = published("eva-x-small")
    written = eva_file(entry, tmp_path)
    script = f'for last; do :; done; mkdir -p "$last"; cp {written.path} "$last/{entry.file}"'
    program(tmp_path, "hf", script, monkeypatch)
    assert found_here(entry) is None
    path = run(entry)
    assert path == found_here(entry) == encoders / entry.name / entry.file
    assert entry.file in (encoders / entry.name / RECORD).read_text()
    loaded = load_encoder("cxr:eva-x-small", synthetic=False)
    assert loaded.spec.card.pretrained_on == ("nih", "chexpert", "mimic")
    program(tmp_path, "hf", "exit 3", monkeypatch)
    with pytest.raises(UserError, match=r"`hf download MapleF/eva_x .* failed"):
        run(entry)


def test_a_file_that_is_not_the_published_one_is_said(
    encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "curl", 'echo another > "$3"', monkeypatch)
    with pytest.raises(UserError, match="is not the published file: its sha256 does not begin 0676ba61"):
        run(published("resnet50"))


def known_by_sha256(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file at ``path`` were the published one of an encoder."""
    from cxrbench.files.digests import file_sha256

    entry = replace(published(name), sha256=file_sha256(path))
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: {name: entry})


def test_a_renamed_file_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published("medical-mae-base")
    path = vit_file(entry, tmp_path).path.rename(tmp_path / "some_vit.pth")
    known_by_sha256(path, "medical-mae-base", monkeypatch)
    loaded = load_encoder(f"mae@{path}", synthetic=False)
    assert loaded.spec.card.pretrained_on == ("nih", "chexpert", "mimic")
    assert (loaded.module.preprocess.mean, loaded.module.preprocess.std) == ((0.5056,), (0.252,))
    assert loaded.spec.card.assumed == ()


def test_another_file_under_a_published_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(published("mrm"), sha256="00000000")
    monkeypatch.setattr("cxrbench.encoders.families.published.plugin.published", lambda name: entry)
    loaded = load_encoder(f"cxr:mrm@{vit_file(entry, tmp_path).path}", synthetic=False)
    assert "the sha256 of the published file is another" in loaded.spec.card.assumed[0]


def test_maco_is_not_taken_for_mrm(tmp_path: Path) -> None:
    loaded = load_encoder(f"mae@{vit_file(published('maco'), tmp_path).path}", synthetic=False)
    assert loaded.spec.card.method == "MaCo"
    assert (loaded.module.preprocess.mean, loaded.module.preprocess.std) == ((0.4978,), (0.2449,))


def small_dinov2(folder: Path, mean: float = 0.5307, std: float = 0.2583) -> Path:
    """A folder as ``hf download --local-dir`` leaves it."""
    config = transformers.Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=28)
    transformers.Dinov2Model(config).save_pretrained(folder)
    processor: dict[str, Any] = {
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 518}, "resample": 3,
        "crop_size": {"height": 518, "width": 518}, "do_center_crop": True, "do_resize": True, "do_rescale": True,
        "do_normalize": True, "image_mean": [mean] * 3, "image_std": [std] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_registers_and_jepa_by_name(tmp_path: Path) -> None:
    """CXformer's folder and RadJEPA's file give what transformers' and timm's networks give."""
    folder = small_dinov2(tmp_path / "cx")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=28, num_register_tokens=4
    )
    model = transformers.Dinov2WithRegistersModel(config).eval()
    model.save_pretrained(folder)
    loaded = load_encoder(f"cxr:cxformer-base@{folder}", synthetic=False)
    images = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    loaded.module.preprocess = replace(loaded.module.preprocess, size=56)
    with torch.inference_mode():
        expected = model(images).last_hidden_state[:, 0]
        torch.testing.assert_close(loaded.module(images).pooled, expected)
    assert (loaded.spec.card.method, loaded.spec.card.assumed) == ("CXformer (B)", ())
    network = plain_vit(224, class_token=False)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"target_encoder": state, "encoder": state}, tmp_path / "jepa_encoder.pth.tar")
    jepa = load_encoder(f"cxr:radjepa@{tmp_path / 'jepa_encoder.pth.tar'}", synthetic=False)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.forward_features(images).mean(1)
        torch.testing.assert_close(jepa.module(images).pooled, expected, atol=2e-5, rtol=2e-4)
    assert jepa.spec.card.method == "RadJEPA"


def test_dinov2_by_name_from_a_folder(tmp_path: Path) -> None:
    """Its features are those of transformers' own model; its card and its images are natural ones."""
    folder = small_dinov2(tmp_path / "dinov2")
    facts = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
    facts |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(config | facts))
    loaded = load_encoder(f"cxr:dinov2-base@{folder}", synthetic=False)
    assert (loaded.module.preprocess.size, loaded.module.preprocess.crop_pct) == (224, 0.875)
    assert (loaded.spec.card.method, loaded.spec.card.assumed) == ("DINOv2 ViT-B/14", ())
    assert loaded.spec.card.pretrained_on == ("lvd142m",)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = transformers.Dinov2Model.from_pretrained(folder).eval()(images).last_hidden_state[:, 0]
        torch.testing.assert_close(loaded.module(images).pooled, expected)


def test_a_folder_keeps_its_mark_whatever_it_is_called(tmp_path: Path) -> None:
    seen = {"mimic", "chexpert", "nih", "padchest", "brax"}
    by_numbers = load_encoder(f"hf:{small_dinov2(tmp_path / 'model')}", synthetic=False).spec.card
    assert set(by_numbers.pretrained_on) == seen
    assert "taken for" in by_numbers.assumed[0]
    assert by_numbers.licence == "unknown"  # of RAD-DINO, CXformer and the like it may be any
    (tmp_path / "model" / "README.md").write_text('encoder = AutoModel.from_pretrained("microsoft/rad-dino")\n')
    by_readme = load_encoder(f"hf:{tmp_path / 'model'}", synthetic=False).spec.card
    assert (by_readme.method, by_readme.licence) == ("RAD-DINO", "MIT")
    cached = tmp_path / "models--microsoft--rad-dino-maira-2" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    assert card_of_folder("hf", cached, GRAY, "x").method == "RAD-DINO-MAIRA-2"
    (tmp_path / "plain").mkdir()
    assert card_of_folder("hf", tmp_path / "plain", GRAY, "x").pretrained_on == ()


def test_a_model_card_that_names_what_it_began_from(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("CXformer: m42-health/CXformer-base, from facebook/dinov2-base\n")
    assert recognised.card_of_folder("hf", tmp_path, GRAY, "x").method == "CXformer (B)"


def test_a_name_with_a_folder_says_what_its_files_say_otherwise(tmp_path: Path) -> None:
    same = load_encoder(f"cxr:rad-dino@{small_dinov2(tmp_path / 'a')}", synthetic=False)
    assert same.spec.card.assumed == ("which data sets it was pretrained on is not verified",)
    other = load_encoder(f"cxr:rad-dino@{small_dinov2(tmp_path / 'b', mean=0.485)}", synthetic=False)
    assert "other preprocessing, which is used: mean (0.485,) (here (0.5307,))" in other.spec.card.assumed[0]
    assert other.module.preprocess.mean == (0.485,) * 3


def test_a_pickled_module_is_refused_with_the_copy_that_is_not(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "ResNet50.pt")
    for name, copy in (("radimagenet-resnet50", "Lab-Rasool/RadImageNet"), ("xrv-densenet121-all", "torchxrayvision")):
        with pytest.raises(UserError, match=rf"wants to run code.*it was not run.*{copy}"):
            load_encoder(f"cxr:{name}@{tmp_path / 'ResNet50.pt'}", synthetic=False)
