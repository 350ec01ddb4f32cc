"""MVMAE as an encoder: against timm, in the layout that its authors' code writes, and from a run of ours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderCard, EncoderRequest, Preprocess
from cxrbench.encoders.backbones.checkpoint import encoder_facts, write_encoder
from cxrbench.encoders.mvmae.backbone import MultiviewBackbone, backbone_config
from cxrbench.encoders.mvmae.encoder import load, parse_variant, untrained
from cxrbench.encoders.mvmae.objective import METHOD, PLUGIN, V2T_PLUGIN
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, pretrain
from cxrbench.errors import UserError
from cxrbench.features.extract import codes_of
from cxrbench.plugins.entry_points import load_plugin

WIDTH, PATCHES = 128, 16
GRAY = Preprocess(32, "squash", (0.4,), (0.3,), channels=1)


def spec(path: Path, variant: str | None = None, name: str = "mvmae") -> EncoderRequest:
    return EncoderRequest(name, variant, str(path))


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """The vision encoder as the official Lightning modules name it: 2 heads of 64, 4 blocks, 8 px patches of 32 px."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.1

    state = {
        "cls_token": normal(1, 1, WIDTH), "pos_embedding": normal(PATCHES, 1, WIDTH), "mod_embedding": normal(3, WIDTH),
        "patchify.weight": normal(WIDTH, 1, 8, 8), "patchify.bias": normal(WIDTH),
        "layer_norm.weight": 1 + normal(WIDTH), "layer_norm.bias": normal(WIDTH),
    }  # fmt: skip
    shapes = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH), "mlp.fc1": (4 * WIDTH, WIDTH),
              "mlp.fc2": (WIDTH, 4 * WIDTH), "norm1": (WIDTH,), "norm2": (WIDTH,), "attn.q_norm": (64,),
              "attn.k_norm": (64,)}  # fmt: skip
    for i in range(4):
        for name, shape in shapes.items():
            state[f"transformer.{i}.{name}.weight"] = normal(*shape) + (len(shape) == 1)
            state[f"transformer.{i}.{name}.bias"] = normal(shape[0])
    return {f"encoders.vision.{name}": tensor for name, tensor in state.items()}


def in_timm(state: dict[str, torch.Tensor], view: int) -> VisionTransformer:
    """The same function as timm's ViT, for one view: its table's row goes into the positions, the CLS token's are 0."""
    model = VisionTransformer(32, 8, 1, 0, embed_dim=WIDTH, depth=4, num_heads=2, qk_norm=True).eval()
    model.norm.eps = 1e-5  # type: ignore[union-attr]
    names = {name.removeprefix("encoders.vision."): tensor for name, tensor in state.items()}
    patches = names.pop("pos_embedding").transpose(0, 1) + names.pop("mod_embedding")[view]
    renamed = {"pos_embed": torch.cat([torch.zeros(1, 1, WIDTH), patches], dim=1)}
    for name, tensor in names.items():
        for old, new in (("patchify", "patch_embed.proj"), ("transformer", "blocks"), ("layer_norm", "norm")):
            name = name.replace(old, new)
        renamed[name] = tensor
    model.load_state_dict(renamed, strict=True)
    return model


@pytest.mark.parametrize(("variant", "view"), [(None, 0), ("F", 0), ("L", 1), ("U", 2)])
def test_published_layout_is_timms_vit_of_one_view(tmp_path: Path, variant: str | None, view: int) -> None:
    state = published()
    others = {
        "decoders.vision.mask_token": torch.zeros(1, 1, WIDTH),
        "text_decoder.classifier.weight": torch.zeros(9, 9),
    }
    torch.save({"state_dict": state | others, "epoch": 3, "global_step": 7}, tmp_path / "last.ckpt")
    encoder = load(spec(tmp_path / "last.ckpt", variant)).eval()
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected, found = in_timm(state, view).forward_features(images), encoder(images)
        torch.testing.assert_close(found.pooled, expected[:, 0], atol=1e-5, rtol=1e-5)
        mean = load(spec(tmp_path / "last.ckpt", f"{'FLU'[view]}-mean")).eval()(images)
        torch.testing.assert_close(mean.pooled, expected[:, 1:].mean(dim=1), atol=1e-5, rtol=1e-5)
        last = encoder.backbone.norm(found.maps[-1].flatten(2).transpose(1, 2))
        torch.testing.assert_close(last, expected[:, 1:], atol=1e-5, rtol=1e-5)
    assert isinstance(encoder, Encoder)
    assert encoder.preprocess == Preprocess(32, "squash", (0.5056,), (0.252,), 1)
    assert encoder.backbone.config.norm_eps == encoder.backbone.norm.eps == 1e-5


def test_published_layout_must_be_whole(tmp_path: Path) -> None:
    state = published()
    for name, change, message in (
        ("less", {"encoders.vision.cls_token": None}, r"missing: cls_token"),
        ("more", {"encoders.vision.extra": torch.zeros(3)}, r"unexpected: extra"),
        ("other", {"classifier.weight": torch.zeros(3)}, r"unexpected: classifier.weight"),
    ):
        changed = {key: value for key, value in (state | change).items() if value is not None}
        torch.save({"state_dict": changed}, tmp_path / f"{name}.ckpt")
        with pytest.raises(UserError, match=message) as caught:
            load(spec(tmp_path / f"{name}.ckpt"))
        assert "\n" not in str(caught.value)


def written(path: Path, views: dict[str, int] | None, method: str = "mvmae") -> MultiviewBackbone:
    torch.manual_seed(0)
    backbone = MultiviewBackbone(backbone_config("64x4p8s32"))
    facts = encoder_facts(method, METHOD.configure("64x4p8s32", {}).objective(None).architecture(), GRAY,
                          EncoderCard("mvmae", "unknown", ("nih",)))  # fmt: skip
    write_encoder(path, backbone.state_dict(), facts | ({"corpus": {"views": views}} if views else {}), half=False)
    return backbone.eval()


@pytest.mark.parametrize(
    ("views", "default"),
    [({"F": 9, "L": 5, "U": 1}, "F"), ({"F": 0, "L": 0, "U": 7}, "U"), ({"F": 2, "L": 5, "U": 0}, "L"), (None, "F")],
)
def test_default_view_is_the_one_that_training_saw_most(tmp_path: Path, views, default: str) -> None:
    backbone, images = written(tmp_path / "e.safetensors", views), torch.randn(2, 1, 32, 32)
    encoder = load(spec(tmp_path / "e.safetensors")).eval()
    assert (encoder.preprocess, encoder.card.pretrained_on) == (GRAY, ("nih",))
    tokens, _ = backbone(images, torch.full((2,), "FLU".index(default)))
    assert torch.equal(encoder(images).pooled, tokens[:, 0])
    others = [load(spec(tmp_path / "e.safetensors", v)).eval()(images).pooled for v in "FLU" if not views or views[v]]
    assert sum(torch.equal(other, tokens[:, 0]) for other in others) == 1


def test_a_view_that_training_never_met_is_an_error(tmp_path: Path) -> None:
    written(tmp_path / "e.safetensors", {"F": 9, "L": 5, "U": 0})
    with pytest.raises(UserError, match=r"mvmae:U: .* has seen no image of that view: choose F or L"):
        load(spec(tmp_path / "e.safetensors", "U"))
    with pytest.raises(UserError, match="was trained by mvmae: name it mvmae@"):
        load(spec(tmp_path / "e.safetensors", name="mvmae-v2t"))
    with pytest.raises(UserError, match="mvmae-v2t has no weights for real images: pretrain with"):
        load(EncoderRequest("mvmae-v2t", None, None))
    save_file({"conv1.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"lacks patch_embed.proj.weight"):
        load(spec(tmp_path / "other.safetensors"))


def test_what_follows_the_colon() -> None:
    parsed = [parse_variant(EncoderRequest("mvmae", text, None)) for text in (None, "L", "mean", "U-mean+sd", "cls-F")]
    assert parsed == [("", "cls"), ("L", "cls"), ("", "mean"), ("U", "mean+sd"), ("F", "cls")]
    for text in ("PA", "F-L", "mean-cls", "F-max", "-"):
        with pytest.raises(UserError, match="the part after the colon is"):
            parse_variant(EncoderRequest("mvmae", text, None))


def test_untrained_follows_its_seed_alone() -> None:
    first, again, other = (untrained("64x4p8s32", seed) for seed in (0, 0, 1))
    assert torch.equal(first.backbone.modality, again.backbone.modality)
    assert not torch.equal(first.backbone.patch_embed.proj.weight, other.backbone.patch_embed.proj.weight)
    assert [m.shape for m in untrained("", 0)(torch.zeros(1, 1, 128, 128)).maps] == [(1, 192, 8, 8)] * 4


def test_entry_points() -> None:
    assert load_plugin("cxrbench.encoders", "mvmae", "encoder") is PLUGIN
    assert load_plugin("cxrbench.encoders", "mvmae-v2t", "encoder") is V2T_PLUGIN
    assert [load_plugin("cxrbench.methods", name, "method").name for name in ("mvmae", "mvmae-v2t")] == [
        "mvmae", "mvmae-v2t"
    ]  # fmt: skip


# A run of the engine


def manifest(root: Path, reports: pd.DataFrame | None) -> Manifest:
    """12 training studies: of two views, of one, without a study id."""
    rng, rows = np.random.default_rng(0), []
    for k in range(18):
        study = f"s{k // 2:02}" if k < 12 else f"s{k:02}" if k < 16 else ""
        view = "L" if k < 12 and k % 2 else "PA"
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(root / f"{k:02}.png")
        rows.append((f"i{k:02}", f"p{study or k}", study, view, "train", f"{k:02}.png", 1000))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes"]
    return Manifest("toy", root, pd.DataFrame(rows, columns=columns), (), reports=reports)


REPORTS = pd.DataFrame(
    {
        "study_id": ["s00", "s01", "s12"],
        "findings": ["Clear lungs.", "Effusion.", ""],
        "impression": ["Normal.", "", ""],
    }
)
CONFIG = PretrainConfig(
    method="mvmae-v2t", arch="64x4p8s32", epochs=3, batch_size=4, precision="32", accelerator="cpu", picture_every=3,
    options={"mask": "0.75", "text_depth": "1", "decoder_depth": "1"},
)  # fmt: skip


def test_a_run_makes_an_encoder(tmp_path: Path) -> None:
    given = manifest(tmp_path, REPORTS)
    pretrain(CONFIG, [given], tmp_path / "run")
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert len(log) == 9
    assert log[["loss", "reconstruction", "alignment", "text", "beta"]].notna().to_numpy().all()
    assert log["beta"].is_monotonic_increasing
    assert max(log["text"].tolist()) > 0
    encoder, checkpoint = (load(spec(tmp_path / "run" / name, name="mvmae-v2t")).eval() for name in
                           ("encoder.safetensors", "last.ckpt"))  # fmt: skip
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(encoder(images).pooled, checkpoint(images).pooled)
    assert (encoder.view, encoder.pooling, encoder.card.pretrained_on) == (0, "cls", ("toy",))
    card = (tmp_path / "run" / "encoder.md").read_text()
    assert "studies: 12; images per study: {'1': 6, '2': 6}; views: {'F': 12, 'L': 6, 'U': 0}; reports: 2" in card
    with Image.open(tmp_path / "run" / "pictures" / "epoch-0003.png") as picture:
        assert picture.size == (3 * 3 * 32, 8 * 32)


def test_v2t_without_reports_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="learns from reports, and toy has none: use mvmae") as caught:
        pretrain(CONFIG, [manifest(tmp_path, None)], tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_each_image_has_the_row_of_its_own_view_but_for_views_that_training_never_met(tmp_path: Path) -> None:
    backbone, images = written(tmp_path / "e.safetensors", {"F": 9, "L": 5, "U": 0}), torch.randn(4, 1, 32, 32)
    encoder = load(spec(tmp_path / "e.safetensors")).eval()
    assert encoder.view_codes == {"PA": 0, "AP": 0, "L": 1, "": 0}
    codes = codes_of(encoder, ["PA", "L", "", "AP"])
    found = encoder(images, codes).pooled
    for at, code in enumerate((0, 1, 0, 0)):
        alone = backbone(images[at : at + 1], torch.tensor([code]))[0][:, 0]
        torch.testing.assert_close(found[at : at + 1], alone)
    written(tmp_path / "published.safetensors", None)
    assert load(spec(tmp_path / "published.safetensors")).view_codes == {"PA": 0, "AP": 0, "L": 1, "": 2}
    assert load(spec(tmp_path / "e.safetensors", "L")).view_codes is None, "one view for all, as it was asked"
