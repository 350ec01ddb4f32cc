"""FaNe's objective: what each option switches, what is trained, and that processes share a batch as one does."""

import copy
import math
import multiprocessing
from contextlib import nullcontext
from csv import DictReader
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.fane.corpus import ReportCorpus
from cxrbench.encoders.fane.image import ResNetConfig, build_image_tower, rotate_and_flip
from cxrbench.encoders.fane.objective import METHOD, FaNe, configure
from cxrbench.encoders.fane.options import OPTIONS, VARIANTS
from cxrbench.encoders.pretraining.engine.flops import step_cost
from cxrbench.encoders.pretraining.engine.plan import check_is_read
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, build_objective, make_corpus, pretrain
from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines
from cxrbench.encoders.pretraining.engine.trainer import as_batch
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.encoders.pretraining.schedule import learning_rate_factor
from cxrbench.encoders.recipes.fane import RECIPES
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from support.fane_data import write_bert, write_studies

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = "64x4p8s24"
DATA = {"min_sentences": 3, "dim": 16, "pool_width": 8}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fane")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return write_studies(folder)


@pytest.fixture(scope="module")
def bert(folder: Path) -> str:
    return str(write_bert(folder / "bert"))


@pytest.fixture(scope="module")
def corpora(folder: Path, manifest: Manifest, bert: str) -> dict[bool, ReportCorpus]:
    """By whether the text encoder is trained."""
    made = {}
    for trained in (False, True):
        blueprint = METHOD.configure(ARCH, DATA | {"text": bert, "train_text": trained})
        corpus, _ = make_corpus(PretrainConfig("fane", ARCH), blueprint, [manifest], folder / "images", None)
        assert isinstance(corpus, ReportCorpus)
        made[trained] = corpus
    return made


def objective(corpora: dict[bool, ReportCorpus], bert: str, **options: Any) -> FaNe:
    torch.manual_seed(0)
    given = DATA | {"text": bert, "train_text": False} | options
    if "official" in (options.get("variant"), options.get("text_head")):
        given.pop("pool_width")
    built = METHOD.configure(ARCH, given).objective(corpora[bool(given["train_text"])])
    assert isinstance(built, FaNe)
    return built


def batch(built: FaNe, corpora: dict[bool, ReportCorpus], units: int = 8) -> Batch:
    corpus = corpora[built.options.train_text]
    return as_batch(corpus.batch(np.arange(units), [np.random.default_rng(i) for i in range(units)]), built.preprocess)


def draw(**named: Any) -> Draw:
    return Draw(torch.Generator().manual_seed(0), **named)


# Options


def test_variants_switch_what_the_specification_says() -> None:
    fixed, paper, official = (asdict(OPTIONS.read({"variant": name})) for name in VARIANTS)
    assert {k: paper[k] for k in fixed if fixed[k] != paper[k]} == {
        "variant": "paper", "initialisation": "torch", "ema": "printed", "bias": "printed", "mask_mode": "pre",
        "hard_negatives": "paper", "hn": 1, "odd_mean": True,
    }  # fmt: skip
    assert {k: official[k] for k in fixed if fixed[k] != official[k]} == {
        "variant": "official", "bias": "printed", "scale": pytest.approx(2.659, abs=1e-3), "learn_scale": True,
        "text_head": "official", "sentence_pool": "mean", "initialisation": "torch", "mask_mode": "pre",
        "hard_negatives": "official", "hn": 1, "average": "reports", "gather": False, "augment": True, "odd_mean": True,
        "learn_positions": True,
    }  # fmt: skip
    assert fixed["kappa"] == 0.95
    assert fixed["alpha"] == 0.05
    assert [fixed[name] for name in ("mp", "tc", "hn", "spa")] == [1, 1, 0.1, 1]
    assert {OPTIONS.read({"variant": variant}).hn for variant in ("paper", "official")} == {1}  # FaNe §4.1
    assert OPTIONS.read({"variant": "official", "mask_mode": "post"}).mask_mode == "post"


def test_official_trains_a_vits_positions() -> None:
    for variant, learnt in (("fixed", False), ("official", True)):
        assert configure("nano", OPTIONS.read({"variant": variant})).backbone.learned_positions is learnt
    assert configure("resnet18", OPTIONS.read({"variant": "official"})).backbone.width == 512


@pytest.mark.parametrize("arch", ["resnet50", "resnet18-64"])
def test_a_resnet_has_no_positions_and_always_three_channels(arch: str) -> None:
    for given in ("true", "false"):
        with pytest.raises(UserError, match="FaNe reads learn_positions only where arch is a ViT: leave it out"):
            METHOD.configure(arch, {"learn_positions": given})
    lines, _ = recipe_lines(PretrainConfig("fane", arch, recipe="official"))
    told = {line.name: (line.value, line.source) for line in lines}
    assert told["learn_positions"] == ("-", "not read: only where arch is a ViT")
    for given, mean in (("true", 0.4755), ("false", 0.485)):  # read, though not for the channels
        images = METHOD.configure(arch, {"variant": "official", "odd_mean": given}).preprocess
        assert (images.channels, images.mean[0]) == (3, mean)


def test_official_schedule_ends_in_the_middle_of_its_cosine() -> None:
    recipe = RECIPES["official"]
    assert (recipe.lr, recipe.weight_decay, recipe.betas) == (4e-4, 1e-6, (0.9, 0.999))
    assert (recipe.epochs * recipe.horizon * recipe.warmup, recipe.batch_size) == (40, 196)
    rate = learning_rate_factor(499, 1000, round(1000 * recipe.warmup), recipe.start_lr, recipe.final_lr)
    assert rate == pytest.approx((1 + math.cos(math.pi * 10 / 60)) / 2, abs=2e-3)  # the run's last step of 500


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mp": "-1"}, "mp is -1: it must be at least 0"),
        ({"mp": "0", "tc": "0", "hn": "0"}, "mp, tc and hn are all 0"),
        ({"pool_width": "12"}, "multiple of 8"),
        ({"mask_mode": "half"}, "mask_mode is pre, post or none, not 'half'"),
        ({"mask_mode": "none", "spa": "0"}, "reads spa only where mask_mode is not none"),
        ({"mask_mode": "none", "tc": "0"}, "tc is 0, so no sentence looks at the patches"),
        ({"similarity": "cosine", "alpha": "0.1"}, "reads alpha only where mp or hn is more than 0 and similarity is"),
        ({"similarity": "cosine", "ema": "printed"}, "reads ema only where"),
        ({"similarity": "cosine", "mp": "0", "hn": "0"}, "reads similarity only where mp or hn is more than 0"),
        ({"alpha": "0"}, "alpha is 0"),
        ({"text_head": "official", "dim": "12"}, "dim is 12: with the official text_head it must be a multiple of 8"),
        ({"text_head": "official", "pool_width": "8"}, "reads pool_width only where text_head is ours"),
        ({"initial_bias": "big"}, "initial_bias is a number or prior, not 'big'"),
        ({"initial_bias": "inf"}, "initial_bias is a number or prior, not 'inf'"),
        (
            {"fast": "10", "learn_bias": "false"},
            "reads fast only where mp is more than 0 and learn_bias or learn_scale",
        ),
        ({"kappa": "nan"}, "kappa is a number, not 'nan'"),
        ({"mp": "inf"}, "mp is a number, not 'inf'"),
        ({"min_sentences": "3.0"}, "min_sentences is a whole number, not '3.0'"),
        ({"kapa": "1"}, "no option kapa"),
        ({"variant": "ours"}, "no variant 'ours'"),
    ],
)
def test_wrong_options(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        METHOD.configure("nano", given)


def test_images_are_normalised_as_the_variant_says() -> None:
    assert METHOD.configure("nano", {}).preprocess.channels == 1
    r50 = METHOD.configure("resnet50", {}).preprocess
    assert (r50.channels, r50.size, r50.mean) == (3, 224, (0.485, 0.456, 0.406))
    for arch in ("resnet50", "base"):
        odd = METHOD.configure(arch, {"variant": "official"}).preprocess
        assert (odd.mean, odd.std) == ((0.4755, 0.4755, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(UserError, match="the ResNets are resnet50, resnet18"):
        METHOD.configure("resnet34", {})


# Loss


def test_the_first_loss_is_about_10_and_970_where_the_bias_has_the_wrong_sign(corpora: Any, bert: str) -> None:
    for bias, expected in (("corrected", 10), ("printed", 10 * 8 - 10)):
        built = objective(corpora, bert, bias=bias, kappa=1)
        v = torch.zeros(8, 16)
        v[:, 0] = 1
        t = torch.zeros(8, 16)
        t[:, 1] = 1  # s = 0
        loss = built.losses(v, t, torch.eye(8, 16), None).logged["mp"]
        assert float(loss) == pytest.approx(expected, abs=0.01)


def test_with_the_prior_bias_a_pair_of_cosine_0_is_as_probable_as_a_positive(corpora: Any, bert: str) -> None:
    built = objective(corpora, bert, initial_bias="prior")
    for pairs in (2, 8, 64):
        assert float(torch.sigmoid(built.bias_of(pairs)).detach()) == pytest.approx(1 / pairs)
    assert objective(corpora, bert, initial_bias="-3.5").bias_of(8).item() == -3.5
    printed = objective(corpora, bert, initial_bias="prior", bias="printed")
    assert printed.bias_of(8).item() == pytest.approx(math.log(7))


def test_the_log_says_which_positives_are_on_the_right_side(corpora: Any, bert: str) -> None:
    v = torch.eye(8, 16)
    t = torch.cat([v[:6], -v[6:]])  # cosines 1 of six pairs, -1 of two
    for bias, right in (("-3", 6 / 8), ("-10.5", 0), ("11", 1)):  # logits 10 s + bias
        built = objective(corpora, bert, kappa=1, initial_bias=bias)
        logged = built.losses(v, t, torch.eye(8, 16), None).logged
        assert float(logged["positives_right"]) == right
        assert float(logged["scale"]) == pytest.approx(10)
        assert float(logged["bias"]) == float(bias)


def test_scale_and_bias_are_learnt_where_asked_and_at_their_own_rate(corpora: Any, bert: str) -> None:
    for options, learnt, factors in (
        ({}, {"beta"}, {}),
        ({"fast": 100}, {"beta"}, {"beta": 100}),
        ({"fast": 100, "learn_scale": True}, {"tau", "beta"}, {"tau": 100, "beta": 100}),
        ({"learn_bias": False}, set(), {}),
    ):
        built = objective(corpora, bert, **options)
        assert {name for name in ("tau", "beta") if getattr(built, name).requires_grad} == learnt
        assert built.rate_factors() == factors


def weighted(built: Any, logged: Any) -> float:
    """The sum of the terms by the weights of its options."""
    return sum(getattr(built.options, name) * float(logged[name]) for name in ("mp", "tc", "hn", "spa"))


@pytest.mark.parametrize("train_text", [False, True])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_part_is_trained_and_the_total_is_the_sum(
    corpora: Any, bert: str, variant: str, train_text: bool
) -> None:
    built = objective(corpora, bert, train_text=train_text, variant=variant, kappa=0.5)
    loss = built(batch(built, corpora), draw())
    assert sorted(loss.logged) == [
        "average_similarity", "bias", "hn", "mp", "positives", "positives_right", "scale", "spa", "tc",
    ]  # fmt: skip
    assert float(loss.value.detach()) == pytest.approx(weighted(built, loss.logged))
    assert loss.value.isfinite()
    loss.value.backward()
    idle = {name for name, p in built.named_parameters() if p.requires_grad and p.grad is None}
    assert not idle
    untouched = {name for name, p in built.named_parameters() if p.grad is not None and not p.grad.any()}
    assert all(name.endswith(("k_proj.bias", "key.bias", "word_embeddings.weight")) for name in untouched)
    assert built.tau.requires_grad == (variant == "official")
    assert any("bert" in name for name, _ in built.named_parameters()) == train_text


@pytest.mark.parametrize("name", ["mp", "tc", "hn", "spa"])
def test_a_loss_can_be_left_out(corpora: Any, bert: str, name: str) -> None:
    whole, without = objective(corpora, bert), objective(corpora, bert, **{name: 0})
    logged = [built(batch(built, corpora), draw()).logged for built in (whole, without)]
    twice = objective(corpora, bert, **{name: 2})
    value = float(twice(batch(twice, corpora), draw()).value.detach())
    total, weight = weighted(whole, logged[0]), getattr(whole.options, name)
    assert value == pytest.approx(total + (2 - weight) * float(logged[0][name]), rel=1e-5)
    left = float(without(batch(without, corpora), draw()).value.detach())
    assert left == pytest.approx(total - weight * float(logged[0][name]), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_without_a_learnable_mask_the_rest_is_the_same(corpora: Any, bert: str, variant: str) -> None:
    masked = objective(corpora, bert, variant=variant)
    plain = objective(corpora, bert, variant=variant, mask_mode="none")
    own, other = plain.state_dict(), masked.state_dict()
    assert {name.split(".")[1] for name in other if name not in own} == {"mask"}
    torch.testing.assert_close(own, {name: other[name] for name in own}, rtol=0, atol=0, equal_nan=True)
    given = batch(masked, corpora)
    last: Any = masked.local_cross_attention.mask
    torch.nn.init.zeros_(last[2].weight)
    torch.nn.init.constant_(last[2].bias, 1e4)  # M = 1
    opened, without = masked(given, draw()), plain(given, draw())
    assert "spa" not in without.logged
    for name, value in without.logged.items():
        torch.testing.assert_close(value, opened.logged[name])
    torch.testing.assert_close(opened.value - without.value, torch.tensor(1.0))  # λ₃ L_spa, the mean of ones
    without.value.backward()
    assert not [name for name, p in plain.named_parameters() if p.requires_grad and p.grad is None]
    with torch.no_grad():
        assert plain.picture(given, draw()) is not None


def test_without_normalisation_the_loss_is_that_of_other_positives(corpora: Any, bert: str) -> None:
    kappa = 0.5
    raw = objective(corpora, bert, similarity="cosine", kappa=kappa)
    given = batch(raw, corpora)
    reports = torch.nn.functional.normalize(given.more["reports"].float(), dim=1)
    average = float(reports.mean(dim=0).norm())
    threshold = (kappa - average) / (1 - average + 1e-6)  # on S̃, what κ is on S
    equal = objective(corpora, bert, kappa=threshold)
    losses = [built(given, draw()) for built in (raw, equal)]
    torch.testing.assert_close(losses[0].value, losses[1].value)
    assert set(losses[1].logged) - set(losses[0].logged) == {"average_similarity"}
    assert raw.division.memory.isnan()
    normalised = objective(corpora, bert, kappa=kappa)(given, draw())
    assert float(losses[0].logged["positives"]) > float(normalised.logged["positives"]) >= 1


def test_the_semantic_division_makes_positives(corpora: Any, bert: str) -> None:
    reports = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    reports[5] = 2 * reports[1]
    logged = {}
    for kappa in (1.0, 0.95, -1e3):
        built = objective(corpora, bert, kappa=kappa)
        given = batch(built, corpora)
        logged[kappa] = built(given._replace(more={**given.more, "reports": reports}), draw()).logged
    assert [float(logged[kappa]["positives"]) for kappa in logged] == [1, 10 / 8, 8]
    assert float(logged[-1e3]["hn"]) == 0  # no negatives


def test_bf16_copies_and_two_units(corpora: Any, bert: str) -> None:
    built = objective(corpora, bert)
    small = batch(built, corpora, 2)
    cost = step_cost(built, small)
    assert 0 < cost.forward < cost.training
    assert built.division.memory.isnan()  # it was a copy that learnt
    full = copy.deepcopy(built)(small, draw())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = built(small, draw())
    assert low.value.dtype == torch.float32
    assert float(low.value.detach()) == pytest.approx(float(full.value.detach()), rel=0.05)


@pytest.mark.parametrize("trained", [False, True])
def test_gradient_checkpointing_changes_nothing_of_images_and_texts(corpora: Any, bert: str, trained: bool) -> None:
    options = {"text": bert, "train_text": trained}
    plain = objective(corpora, bert, train_text=trained)
    config = PretrainConfig("fane", ARCH, gradient_checkpointing=True, options=options)
    spared = build_objective(config, METHOD.configure(ARCH, DATA | options), corpora[trained])
    spared.load_state_dict(plain.state_dict())
    gradients = []
    for built in (plain, spared):
        torch.manual_seed(0)  # of dropout
        built(batch(plain, corpora), draw()).value.backward()
        gradients.append({name: p.grad for name, p in built.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_a_resnet_with_a_frozen_bert_has_nothing_to_spare() -> None:
    for arch, trained, spares in (("resnet18", False, False), ("resnet18", True, True), ("nano", False, True)):
        config = PretrainConfig("fane", arch, gradient_checkpointing=True)
        blueprint = METHOD.configure(arch, {"train_text": trained})
        with nullcontext() if spares else pytest.raises(UserError, match="nothing that gradient checkpointing"):
            check_is_read(config, METHOD, blueprint)


def test_picture_and_augmentation(corpora: Any, bert: str) -> None:
    built = objective(corpora, bert)
    with torch.no_grad():
        picture = built.picture(batch(built, corpora, 2), draw())
    assert picture is not None
    assert picture.shape == (24, 96)
    assert built.division.memory.isnan()
    assert float(picture.min()) == 0
    assert float(picture.max()) == 1
    images, black = torch.rand(64, 1, 24, 24), torch.full((1, 1, 1), -2.0)
    moved = rotate_and_flip(images, draw(), black)
    middle = (slice(None), slice(None), slice(8, 16), slice(8, 16))
    smooth = torch.linspace(0, 1, 24).expand(64, 1, 24, 24)
    slopes = rotate_and_flip(smooth, draw(), black)[middle].diff(dim=3).mean(dim=(1, 2, 3)) * 23
    assert 16 < int((slopes < 0).sum()) < 48  # flipped
    assert (slopes.abs() > math.cos(math.radians(5)) - 1e-3).all()
    assert (slopes.abs() < 1 + 1e-3).all()
    assert moved.min() < 0  # corners


def test_a_resnet_learns_too(corpora: Any, bert: str) -> None:
    torch.manual_seed(0)
    built = FaNe(ResNetConfig((1, 1, 1, 1), False, 24), OPTIONS.read(DATA | {"text": bert, "train_text": False}),
                 corpora[False])  # fmt: skip
    seen = built.network.image_encoder(torch.randn(2, 3, 24, 24))
    assert seen.pooled.shape == (2, 512)
    assert seen.places.shape == (2, 4, 256)
    built(batch(built, corpora, 4), draw()).value.backward()
    assert all(p.grad is not None for p in built.network.image_encoder.parameters())


def test_resnet50_is_the_papers() -> None:
    with torch.device("meta"):
        tower = build_image_tower(ResNetConfig())
        seen = tower(torch.empty(2, 3, 224, 224))
    assert seen.pooled.shape == (2, 2048)
    assert seen.places.shape == (2, 361, 1024)
    assert [tuple(m.shape[1:]) for m in seen.maps] == [(256, 75, 75), (512, 38, 38), (1024, 19, 19), (2048, 10, 10)]
    assert tower.state_dict()["pool.positional_embedding"].shape == (101, 2048)


# Processes


def gradients(built: FaNe, whole: Batch, rank: int, world: int) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradients of this process's share of a batch."""
    share = len(whole.images) // world
    own = slice(rank * share, (rank + 1) * share)
    part = Batch(whole.images[own], {name: values[own] for name, values in whole.more.items()})
    loss = built(part, draw(rank=rank, world=world)).value
    loss.backward()
    return float(loss.detach()), {n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None}


def process(rank: int, store: str, built: FaNe, whole: Batch, queue: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    loss, grads = gradients(built, whole, rank, 2)
    for gradient in grads.values():
        dist.all_reduce(gradient)
    queue.put((rank, loss, float(built.division.memory), {n: (g / 2).numpy() for n, g in grads.items()}))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_train_as_one(corpora: Any, bert: str, tmp_path: Path) -> None:
    built = objective(corpora, bert, kappa=0.5, average="sentences")
    whole = batch(built, corpora)
    queue: Any = multiprocessing.get_context("fork").SimpleQueue()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=process, args=(r, f"{tmp_path}/store", built, whole, queue)) for r in (0, 1)]
    for worker in workers:
        worker.start()
    results = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    loss, expected = gradients(built, whole, 0, 1)
    for _, other, memory, grads in results:
        assert other == pytest.approx(loss, rel=1e-5)
        assert memory == pytest.approx(float(built.division.memory), abs=1e-6)
        assert set(grads) == set(expected)
        for name, gradient in expected.items():
            np.testing.assert_allclose(grads[name], gradient.numpy(), rtol=1e-3, atol=2e-5, err_msg=name)


# A run


def test_a_run_learns_and_says_what_it_was(manifest: Manifest, bert: str, folder: Path, tmp_path: Path) -> None:
    config = PretrainConfig("fane", ARCH, epochs=2, batch_size=4, precision="32", accelerator="cpu",
                            options=DATA | {"text": bert, "train_text": "false"})  # fmt: skip
    pretrain(config, [manifest], tmp_path / "run", cache=folder / "images")
    card = (tmp_path / "run" / "encoder.md").read_text()
    assert "studies: 12" in card
    assert "text encoder" in card
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert "positives" in lines[0]
    assert len(lines) > 2


def test_an_ablated_run_says_so_and_is_an_encoder(manifest: Manifest, bert: str, folder: Path, tmp_path: Path) -> None:
    ablated = {"mask_mode": "none", "similarity": "cosine"}
    config = PretrainConfig("fane", ARCH, recipe="paper", epochs=1, batch_size=4, precision="32", accelerator="cpu",
                            options=DATA | {"text": bert, "train_text": "false"} | ablated)  # fmt: skip
    pretrain(config, [manifest], tmp_path / "run", cache=folder / "images")
    card = (tmp_path / "run" / "encoder.md").read_text()
    assert all(f'"{name}": "{value}"' in card for name, value in ablated.items())
    loaded = load_encoder(f"fane@{tmp_path / 'run' / 'encoder.safetensors'}", synthetic=False)
    assert loaded.spec.card.pretrained_on == ("toy",)
    header = (tmp_path / "run" / "log.csv").read_text().splitlines()[0].split(",")
    assert not {"spa", "average_similarity"} & set(header)


def test_a_fast_bias_moves_by_its_own_rate(manifest: Manifest, bert: str, folder: Path, tmp_path: Path) -> None:
    options = DATA | {"text": bert, "train_text": "false", "fast": 50}
    config = PretrainConfig("fane", ARCH, epochs=1, batch_size=4, lr=1e-3, warmup=0.0, precision="32",
                            accelerator="cpu", options=options)  # fmt: skip
    pretrain(config, [manifest], tmp_path / "run", cache=folder / "images")
    rows = list(DictReader((tmp_path / "run" / "log.csv").open()))
    moved = abs(float(rows[1]["bias"]) - float(rows[0]["bias"]))
    assert moved == pytest.approx(50e-3, rel=1e-3)  # AdamW's first step is its rate
