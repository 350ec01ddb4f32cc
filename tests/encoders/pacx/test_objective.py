"""PaCX-MAE's stage 2: LoRA (invariants 1 and 2), the logit scale (8), processes, variants, ablations, checkpoints."""

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone, encoder_facts, write_encoder
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, parse_arch
from cxrbench.encoders.pacx import objective as pacx
from cxrbench.encoders.pacx.encoder import load
from cxrbench.encoders.pacx.lora import adapt, merged
from cxrbench.encoders.pacx.objective import METHOD, PaCX, base_of
from cxrbench.encoders.pacx.options import OPTIONS
from cxrbench.encoders.pretraining.initial import read_initial
from cxrbench.encoders.pretraining.method import Batch, Draw, Loss
from cxrbench.errors import UserError

ARCH = ViTConfig(width=64, depth=4, heads=1, patch=8, size=32, channels=1)
ECG, LABS = 20, 12
CARD = EncoderCard("mae", "Apache-2.0", ("nih",))
STILL = {"dropout": 0.0, "head_dropout": 0.0}  # not options of a user's: dropout knows no batch


def backbone(arch: ViTConfig = ARCH, seed: int = 0) -> ViT:
    torch.manual_seed(seed)
    return ViT(arch).eval()


def objective(still: bool = False, widths: dict[str, int] | None = None, **given: object) -> PaCX:
    options = replace(OPTIONS.read(given), **(STILL if still else {}))
    base = TrainedBackbone(backbone().state_dict(), ARCH, None, CARD)
    torch.manual_seed(1)
    return PaCX(base, options, gray_preprocess(ARCH), widths or {"ecg": ECG, "labs": LABS})


def batch(n: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    more = {"ecg": torch.randn(n, ECG, generator=g), "labs": torch.randn(n, LABS, generator=g)}
    has = {"has_ecg": torch.ones(n, dtype=torch.bool), "has_labs": torch.ones(n, dtype=torch.bool)}
    return Batch(torch.randn(n, 1, 32, 32, generator=g), more | has)


def draw(seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), rank, world)


def loss(model: PaCX, data: Batch) -> Loss:
    torch.manual_seed(0)  # dropout's
    return model(data, draw())


def shake(module: nn.Module) -> nn.Module:
    """As after some training: no weight is where it began, LoRA's B neither."""
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return module


# 1. LoRA


@pytest.mark.parametrize("training", [True, False])
def test_lora_begins_as_no_change(training: bool) -> None:
    x, model = torch.randn(3, 1, 32, 32), objective().train(training)
    torch.testing.assert_close(model.backbone(x)[0], backbone()(x)[0], atol=0, rtol=0)


def test_merging_changes_nothing() -> None:
    x, model = torch.randn(3, 1, 32, 32), objective().eval()
    shake(model)
    plain = model.kept().eval()
    before, after = model.backbone(x), plain(x)
    torch.testing.assert_close(after[0], before[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=0)
    assert not torch.allclose(after[0], backbone()(x)[0], atol=1e-2)
    assert list(plain.state_dict()) == list(backbone().state_dict())
    torch.testing.assert_close(model.backbone(x)[0], before[0], atol=0, rtol=0)  # a copy was merged


def test_merging_is_the_formula() -> None:
    model = objective(alpha=16, rank=4)
    shake(model)
    state = model.backbone.state_dict()
    name = "base_model.model.blocks.1.mlp.fc1"
    a, b = (state[f"{name}.lora_{x}.default.weight"] for x in "AB")
    expected = state[f"{name}.base_layer.weight"] + 16 / 4 * b @ a
    torch.testing.assert_close(model.kept().state_dict()["blocks.1.mlp.fc1.weight"], expected)


# 2. What is trained


@pytest.mark.parametrize(("norms", "extra"), [("all", 38_400), ("final", 1_536)])
@pytest.mark.parametrize("rank", [4, 8])
def test_share_of_trained_parameters_at_vit_b(norms, extra: int, rank: int) -> None:
    with torch.device("meta"):
        base = ViT(replace(parse_arch("base", channels=3)))
        whole = sum(p.numel() for p in base.parameters())
        adapted = adapt(base, rank=rank, alpha=8, dropout=0.1, norms=norms)
    trained = {name: p.numel() for name, p in adapted.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or ".norm" in name for name in trained)
    lora = sum(n for name, n in trained.items() if ".lora_" in name)
    assert lora == 12 * rank * (4 + 5 + 5) * 768 == 129_024 * rank
    assert sum(trained.values()) == lora + extra
    share = sum(trained.values()) / whole
    assert share <= 0.013
    assert (share < 0.01) == (rank == 4)  # the paper's "less than 1%" is not true of its rank


def test_gradients_reach_lora_norms_heads_and_scale_and_nothing_else() -> None:
    model = objective()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    shake(model)
    loss(model, batch()).value.backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert got == {name for name, _ in model.named_parameters()} - frozen
    inside = {name.removeprefix("backbone.base_model.model.") for name in got if name.startswith("backbone.")}
    norms = {
        f"{n}.{p}" for n, m in backbone().named_modules() if isinstance(m, nn.LayerNorm) for p in ("weight", "bias")
    }
    assert {name for name in inside if ".lora_" not in name} == norms
    final = {
        n for n, p in objective(norms="final").backbone.named_parameters() if p.requires_grad and ".lora_" not in n
    }
    assert final == {"base_model.model.norm.weight", "base_model.model.norm.bias"}


# 7. and 8. The objective


def test_missing_modalities() -> None:
    model = objective(augment=False, still=True)
    data = batch()
    whole = loss(model, data)
    none = torch.zeros(6, dtype=torch.bool)
    alone = objective(augment=False, still=True, widths={"labs": LABS}, modalities="labs")
    alone.load_state_dict(model.state_dict(), strict=False)
    without = Batch(data.images, dict(data.more) | {"has_ecg": none})
    assert loss(model, without).value.item() == pytest.approx(loss(alone, data).value.item(), abs=1e-6)
    nothing = loss(model, Batch(data.images, dict(without.more) | {"has_labs": none})).value
    nothing.backward()
    assert nothing.item() == 0
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in model.parameters())
    assert whole.value.item() == pytest.approx(
        0.5 * whole.logged["contrastive"].item() + whole.logged["regression"].item(), abs=1e-6
    )


def test_an_image_has_one_projection_for_all_modalities() -> None:
    model, calls = objective().train(), []
    model.project["image"].register_forward_hook(lambda *_: calls.append(1))
    loss(model, batch())
    assert len(model.regress) == 2
    assert len(calls) == 1  # each call would draw a dropout mask of its own


def test_ablations_switch_the_losses() -> None:
    data = batch()
    parts = loss(objective(), data).logged
    cases: tuple[tuple[dict[str, Any], Any], ...] = (
        ({"contrastive": 0}, parts["regression"]),
        ({"regression": 0}, 0.5 * parts["contrastive"]),
        ({"contrastive": "2", "regression": "3"}, 2 * parts["contrastive"] + 3 * parts["regression"]),
    )
    for given, expected in cases:
        assert loss(objective(**given), data).value.item() == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize(("scale", "used"), [(0.2, 1.0), (14.0, 14.0), (500.0, 100.0)])
def test_the_logit_scale_stays_within_1_and_100(scale: float, used: float) -> None:
    model = objective()
    with torch.no_grad():
        model.log_scale.fill_(math.log(scale))
    assert loss(model, batch()).logged["logit_scale"].item() == pytest.approx(used, rel=1e-5)
    assert objective().log_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_it_learns_what_image_and_teacher_share() -> None:
    g = torch.Generator().manual_seed(0)
    code = torch.randn(16, 1, 8, 8, generator=g)
    images = code.repeat(1, 1, 4, 4) + 0.3 * torch.randn(16, 1, 32, 32, generator=g)
    ecg, labs = (code.flatten(1) @ torch.randn(64, n, generator=g) for n in (ECG, LABS))
    data = batch(16)
    data = Batch(images, dict(data.more) | {"ecg": ecg, "labs": labs})
    model = objective(still=True, augment=False).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(25):
        value = loss(model, data).value
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > 2.0
    assert values[-1] < 0.6 * values[0]


# Processes


def test_two_processes_compute_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in turns: first what each gives to be gathered, then each with the other's rows beside its own."""
    has = {"has_ecg": torch.tensor([1, 1, 1, 0, 1, 0, 0, 1]).bool(), "has_labs": torch.tensor([0] * 4 + [1] * 4).bool()}
    data = Batch((whole := batch(8)).images, dict(whole.more) | has)
    halves = [Batch(data.images[k:][:4], {name: rows[k:][:4] for name, rows in data.more.items()}) for k in (0, 4)]
    expected = objective(still=True)
    value = expected(data, draw()).value
    value.backward()
    model, given = objective(still=True), ([], [])

    for rank, half in enumerate(halves):
        monkeypatch.setattr(pacx, "gather_batch", lambda rows, rank=rank: given[rank].append(rows.detach()) or rows)
        model(half, draw(0, rank, 2))
    for rank, half in enumerate(halves):
        theirs = iter(given[1 - rank])

        def gathered(rows: Tensor, rank: int = rank, theirs: Iterator[Tensor] = theirs) -> Tensor:
            mine = 2 * rows - rows.detach()  # gradients times the processes, over which DDP then averages
            return torch.cat([mine, next(theirs)] if rank == 0 else [next(theirs), mine])

        monkeypatch.setattr(pacx, "gather_batch", gathered)
        found = model(half, draw(0, rank, 2)).value
        torch.testing.assert_close(found, value, atol=1e-5, rtol=0)
        (found / 2).backward()
    for (name, p), q in zip(expected.named_parameters(), model.parameters(), strict=True):
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_it_survives_a_copy_and_bf16() -> None:
    model = objective(still=True, augment=False)
    value = loss(copy.deepcopy(model), batch()).value.item()
    assert value == loss(model, batch()).value.item()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(model, batch()).value
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(value, rel=0.05)


# Variants and options


def test_variants_switch_what_they_say() -> None:
    fixed, paper, official = (objective(variant=v) for v in ("fixed", "paper", "official"))
    adapters: list[Any] = [
        m.backbone.get_submodule("base_model.model.blocks.0.mlp.fc1") for m in (fixed, paper, official)
    ]
    scaling = [adapter.scaling["default"] for adapter in adapters]
    assert scaling == [1, 1, 2]
    trained = [
        sum(p.requires_grad for n, p in m.backbone.named_parameters() if ".norm" in n) for m in (fixed, paper, official)
    ]
    assert trained == [18, 18, 2]
    shapes = [[type(part).__name__ for part in m.project["image"].modules()] for m in (fixed, paper, official)]
    assert shapes[0] == shapes[2] == ["Sequential", "Dropout", "Linear", "LayerNorm"]
    assert shapes[1] == ["Linear"]
    assert [m.options.augment for m in (fixed, paper, official)] == [True, False, True]
    eps = [
        {part.eps for part in m.backbone.modules() if isinstance(part, nn.LayerNorm)} for m in (fixed, paper, official)
    ]
    assert eps == [{1e-6}, {1e-6}, {1e-5}]
    assert [m.options.teachers().corruption for m in (fixed, paper, official)] == ["both", "values", "both"]
    assert [m.options.teachers().imputed for m in (fixed, paper, official)] == ["zero", "zero", "mean"]


def test_options_that_make_no_sense_are_one_line(tmp_path: Path) -> None:
    assert OPTIONS.read({"variant": "official", "alpha": "8", "augment": "false"}).alpha == 8
    for wrong in ({"rank": 0}, {"smoothing": 1}, {"contrastive": 0, "regression": 0}, {"modalities": "ekg"}, {"x": 1}):
        with pytest.raises(UserError):
            OPTIONS.read(wrong)
    with pytest.raises(UserError, match=r"ecg=.*none\.pth is no file"):
        OPTIONS.read({"ecg": str(tmp_path / "none.pth")})


# What it begins from


def ours(path: Path, method: str, network: nn.Module, arch: ViTConfig = ARCH) -> Path:
    write_encoder(
        path, network.state_dict(), encoder_facts(method, asdict(arch), gray_preprocess(arch), CARD), half=False
    )
    return path


def test_it_begins_from_our_maes_and_from_published_ones(tmp_path: Path) -> None:
    def read_base(path: Path, arch: ViTConfig) -> TrainedBackbone:
        return base_of(read_initial(str(path)), arch)

    found = read_base(ours(tmp_path / "mae.safetensors", "mae", backbone()), ARCH)
    assert found.config == ARCH
    assert found.card.pretrained_on == ("nih",)
    colour = replace(ARCH, channels=3)
    network = backbone(colour)
    decoder = {"decoder_embed.weight": torch.zeros(2, 2), "mask_token": torch.zeros(1, 1, 2)}
    stage1 = {f"model.{name}": value for name, value in (network.state_dict() | decoder).items()}
    torch.save({"state_dict": stage1, "epoch": 3}, tmp_path / "stage1.ckpt")
    torch.save({"model": network.state_dict()}, tmp_path / "mae.pth")
    for name in ("stage1.ckpt", "mae.pth"):
        found = read_base(tmp_path / name, ARCH)
        assert found.config == colour
        assert found.state.keys() == network.state_dict().keys()
        blueprint = METHOD.configure("64x4p8s32", {})
        assert blueprint.base is not None
        assert blueprint.preprocess == gray_preprocess(ARCH)
        assert blueprint.base.begun(read_initial(str(tmp_path / name))).preprocess == gray_preprocess(colour)
    with pytest.raises(UserError, match="is a ViT 64x4p8s32, not 64x6p8s32: pass it as --arch 64x4p8s32"):
        read_base(tmp_path / "mae.pth", replace(ARCH, depth=6))
    bare = replace(ARCH, class_token=False)
    path = ours(tmp_path / "bare.safetensors", "radjepa", ViT(bare), bare)
    with pytest.raises(UserError, match="without a CLS token"):
        read_base(path, ARCH)


@pytest.mark.parametrize("variant", ["fixed", "paper", "official"])
def test_heads_start_as_the_codes_do(variant: str) -> None:
    """Truncated N(0, .02²), and biases at 0; torch's own layers would start wider here, .036 to .07."""
    torch.manual_seed(0)
    model = objective(variant=variant)
    linears = [
        part for each in (model.project, model.regress) for part in each.modules() if isinstance(part, nn.Linear)
    ]
    assert len(linears) == 5
    for linear in linears:
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.06)
        assert float(linear.bias.detach().abs().max()) == 0


# Checkpoints


def published(path: Path, arch: ViTConfig, alpha: int = 16) -> nn.Module:
    """A stage-2 checkpoint as the official code writes it, by peft; returns the network under LoRA."""
    network: Any = get_peft_model(
        backbone(arch), LoraConfig(r=8, lora_alpha=alpha, lora_dropout=0.1, target_modules=["qkv", "fc1", "fc2"])
    )  # type: ignore[arg-type]
    shake(network)
    state = {f"cxr_encoder.{name}": value for name, value in network.state_dict().items()}
    state |= {"logit_scale": torch.zeros(()), "cxr_proj.1.weight": torch.zeros(256, 64)}
    torch.save({"state_dict": state, "epoch": 49}, path)
    return network.eval()


def test_the_published_stage_2_loads_strictly_and_merged(tmp_path: Path) -> None:
    arch = replace(ARCH, channels=3)
    network = published(tmp_path / "pacx.ckpt", arch)
    for part in network.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-5  # as the official stage 2 has it
    encoder = load(EncoderRequest("pacx", None, str(tmp_path / "pacx.ckpt")))
    assert encoder.card.pretrained_on == ("chexpert", "mimic", "symile")
    x = torch.randn(2, 3, 32, 32)
    assert encoder.backbone.state_dict().keys() == backbone(arch).state_dict().keys()
    torch.testing.assert_close(encoder(x).pooled, network(x)[0][:, 0], atol=1e-5, rtol=0)
    by_mean = load(EncoderRequest("pacx", "mean", str(tmp_path / "pacx.ckpt")))
    torch.testing.assert_close(by_mean(x).pooled, network(x)[0][:, 1:].mean(1), atol=1e-5, rtol=0)
    checkpoint = torch.load(tmp_path / "pacx.ckpt")
    del checkpoint["state_dict"]["cxr_encoder.base_model.model.blocks.2.mlp.fc1.lora_B.default.weight"]
    torch.save(checkpoint, tmp_path / "cut.ckpt")
    with pytest.raises(UserError, match=r"1 missing: blocks\.2\.mlp\.fc1\.lora_B"):
        load(EncoderRequest("pacx", None, str(tmp_path / "cut.ckpt")))


@pytest.mark.parametrize("variant", ["fixed", "official"])
def test_what_was_trained_here_is_what_loads(tmp_path: Path, variant: str) -> None:
    model = objective(variant=variant).eval()
    shake(model)
    facts = encoder_facts("pacx", model.architecture(), model.preprocess, CARD)
    write_encoder(tmp_path / "encoder.safetensors", model.kept().state_dict(), facts, half=False)
    encoder = load(EncoderRequest("pacx", None, str(tmp_path / "encoder.safetensors"))).eval()
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(encoder(x).pooled, model.backbone(x)[0][:, 0], atol=1e-5, rtol=0)
    assert {part.eps for part in encoder.modules() if isinstance(part, nn.LayerNorm)} == {model.options.norm_eps}


def test_every_block_has_three_adapters() -> None:
    adapted = adapt(backbone(), rank=2, alpha=2, dropout=0.0, norms="all")
    assert isinstance(merged(adapted), ViT)
    names = {name for name, _ in adapted.named_parameters() if "lora" in name}
    assert len(names) == 4 * 3 * 2
