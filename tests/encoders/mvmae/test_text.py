"""MVMAE-V2T's text decoder: invariant 8 of its specification, variants, reports that are missing, processes."""

import math
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.mvmae.objective import MVMAE
from cxrbench.encoders.mvmae.options import V2T_OPTIONS
from cxrbench.encoders.mvmae.text import TextDecoder, TextDecoderConfig
from cxrbench.encoders.pretraining.method import Batch, Draw
from cxrbench.encoders.text.tokens import Vocabulary
from cxrbench.errors import UserError

ARCH = ViTConfig(64, 4, 1, 4, 16, 1, qk_norm=True, learned_positions=True, norm_eps=1e-5)  # 16 patches
VOCABULARY = Vocabulary(size=12, start=10, end=11, padding=0)
TEXT = torch.tensor([[10, 3, 4, 5, 11], [10, 6, 7, 8, 9], [10, 2, 11, 0, 0], [0, 0, 0, 0, 0]])  # the second was cut
PRESENT = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [True, True, False]])
VIEWS = torch.tensor([[0, 1, 2], [0, 1, 0], [1, 0, 0], [0, 0, 0]])


def draw(seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), rank, world, 0.9)


def objective(**options: object) -> MVMAE:
    torch.manual_seed(0)
    return MVMAE(ARCH, V2T_OPTIONS.read({"mask": 0.75, **options}), VOCABULARY).eval()


def batch(text: torch.Tensor = TEXT) -> Batch:
    images = torch.randn(4, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batch(images, {"views": VIEWS, "present": PRESENT, "text": text})


def decoder(**config: Any) -> TextDecoder:
    torch.manual_seed(0)
    return TextDecoder(ARCH, VOCABULARY, TextDecoderConfig(**config)).eval()


def read(model: TextDecoder, text: torch.Tensor) -> torch.Tensor:
    """Cross entropies of texts that all see the same views."""
    generator = torch.Generator().manual_seed(1)
    encoded = torch.randn(1, 5, 64, generator=generator).expand(len(text), -1, -1)
    kept = torch.tensor([[3, 15, 0, 7]]).expand(len(text), -1)
    return model(encoded, kept, torch.zeros(len(text), 64), text)


# 8. Causal, calibrated, a mean per report


@pytest.mark.parametrize("variant", ["fixed", "official"])
def test_logits_do_not_hang_on_later_words(variant: str) -> None:
    text = objective(variant=variant, mask=0.75).text
    assert text is not None
    memory = torch.randn(1, 5, 64).expand(5, -1, -1)
    words = torch.tensor([[10, 3, 4, 5, 6]]).repeat(5, 1)
    for k in range(1, 5):
        words[k, k] = 9
    logits = text.predict(text.hidden(memory, words))
    for k in range(1, 5):
        torch.testing.assert_close(logits[k, :k], logits[0, :k], atol=1e-6, rtol=0)
        assert (logits[k, k:] - logits[0, k:]).abs().amax(dim=1).min() > 1e-4


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    model = decoder()
    torch.nn.init.zeros_(model.predict.weight)
    torch.testing.assert_close(read(model, TEXT[:3]), torch.full((3,), math.log(12)))


@pytest.mark.parametrize("config", [{}, {"predict_end": False, "positions": False}, {"start_with_padding": True}])
def test_loss_is_the_mean_cross_entropy_of_each_report(config: dict[str, Any]) -> None:
    model = decoder(**config)
    found = read(model, TEXT[:3])
    generator = torch.Generator().manual_seed(1)
    encoded = torch.randn(1, 5, 64, generator=generator)
    memory = model.read_memory(encoded, torch.tensor([[3, 15, 0, 7]]), torch.zeros(1, 64))
    ends = config.get("predict_end", True)
    for row, targets in enumerate([[3, 4, 5, *[11] * ends], [6, 7, 8, 9], [2, *[11] * ends]]):
        logits = model.predict(model.hidden(memory, torch.tensor([[10, *targets[:-1]]])))  # no padding here
        expected = F.cross_entropy(logits[0], torch.tensor(targets))
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_the_start_is_a_token_of_its_own_or_padding() -> None:
    memory = torch.randn(1, 5, 64)
    cls, padding = (decoder(start_with_padding=flag).hidden(memory, torch.tensor([[10, 3]])) for flag in (False, True))
    assert not torch.allclose(cls, padding)
    same = decoder(start_with_padding=True)
    torch.testing.assert_close(same.hidden(memory, torch.tensor([[0, 3]])), padding)


def test_word_order_is_known_by_positions_alone() -> None:
    """One layer without positions sees the words before as a set."""
    memory, words = torch.randn(1, 5, 64).expand(2, -1, -1), torch.tensor([[10, 3, 4, 5, 6], [10, 5, 3, 4, 6]])
    for positions in (False, True):
        last = decoder(depth=1, positions=positions).hidden(memory, words)[:, -1]
        assert torch.allclose(last[0], last[1], atol=1e-6) != positions


def test_memory_has_view_and_place() -> None:
    model = decoder()
    encoded, kept = torch.randn(1, 3, 64), torch.tensor([[4, 1]])
    row = torch.randn(1, 64)
    expected = encoded + model.memory_positions[:, [0, 5, 2]] + row
    torch.testing.assert_close(model.read_memory(encoded, kept, row), expected)
    assert decoder(width=128).read_memory(encoded, kept, row).shape == (1, 3, 128)
    with pytest.raises(UserError, match="8 heads cannot share"):
        decoder(width=100)


# In the objective


def test_text_is_a_mean_over_views_and_missing_reports_count_nothing() -> None:
    model, given = objective(), batch()
    assert model.text is not None
    seen = model.encode(given, draw())
    study = [0, 0, 0, 1, 1, 2]
    modality = model.decoder.modality[seen.views[:6]]
    ce = model.text(seen.tokens[:6], seen.masking.kept[:6], modality, TEXT[study])
    expected = torch.stack([ce[:3].mean(), ce[3:5].mean(), ce[5], torch.tensor(0.0)])
    torch.testing.assert_close(model.text_loss(model.text, seen, PRESENT, TEXT), expected)
    loss = model(given, draw())
    logged = {name: float(value) for name, value in loss.logged.items()}
    assert logged["text"] == pytest.approx(float(expected.detach().mean()))
    rest = logged["beta"] * logged["alignment"]
    assert loss.value.item() == pytest.approx(logged["reconstruction"] + logged["text"] + rest)
    heavier = objective(text_weight=3)(given, draw()).value
    assert heavier.item() == pytest.approx(logged["reconstruction"] + 3 * logged["text"] + rest)


def test_official_total_is_the_mean_of_its_list() -> None:
    model, given = objective(variant="official", mask=0.75), batch()
    assert model.text is not None
    loss = model(given, draw())
    seen = model.encode(given, draw())
    made = model.decoder(seen.tokens, seen.masking.restore, seen.views)
    rec = ((made - seen.target) ** 2 * seen.masking.hidden[:, :, None]).mean(dim=(1, 2)) / 0.75
    study = [0, 0, 0, 1, 1, 2]
    ce = model.text(
        seen.tokens[:6], seen.masking.restore[:6, : model.visible], model.decoder.modality[seen.views[:6]], TEXT[study]
    )
    slot = {0: [0, 3, 5, 6], 1: [1, 4, 7], 2: [2]}  # which of the 8 views are in which slot
    listed = [rec[views].sum() / 4 for views in slot.values()]
    listed += [ce[[v for v in views if v < 6]].sum() / 4 for views in slot.values()]
    expected = torch.stack(listed).mean() + loss.logged["beta"] * loss.logged["alignment"]
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_without_any_report_is_plain_mvmae() -> None:
    model = objective()
    loss = model(batch(torch.zeros(4, 2, dtype=torch.long)), draw())
    assert loss.logged["text"] == 0
    loss.value.backward()
    assert model.text is not None
    assert all(p.grad is None for p in model.text.parameters())
    assert all(bool(p.grad.isfinite().all()) for p in model.backbone.parameters() if p.grad is not None)
    assert model.backbone.cls_token.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_variants_switch_what_they_say() -> None:
    options = [V2T_OPTIONS.read({"variant": name}) for name in ("fixed", "paper", "official")]
    assert [o.text for o in options] == ["impression_or_findings", "report", "impression"]
    assert [o.predict_end for o in options] == [True, True, False]
    assert [o.text_positions for o in options] == [True, True, False]
    assert [o.start_with_padding for o in options] == [False, True, False]
    assert [o.halved for o in options] == [False, False, True]
    assert [o.vocabulary for o in options] == ["seen", "full", "full"]
    assert [o.mask for o in options] == [0.9, 0.9, 0.93]
    for wrong in ({"text_weight": 0}, {"text_length": 2}, {"text": "all"}, {"mask": 0}, {"text_depth": "x"}):
        with pytest.raises(UserError):
            V2T_OPTIONS.read(wrong)


def test_it_learns_to_tell_two_images_apart() -> None:
    """What is written hangs on what is seen: two images, two reports of equal words in another order."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 1, 4, 4, generator=generator).repeat(1, 1, 1, 4, 4)
    text = torch.tensor([[10, 3, 4, 5, 11], [10, 5, 3, 4, 11]])
    more = {"views": torch.zeros(2, 1, dtype=torch.long), "present": torch.ones(2, 1, dtype=torch.bool), "text": text}
    model = objective(mask=0.5, augment=False, text_depth=1, decoder_depth=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses: list[float] = []
    for step in range(45):
        loss = model(Batch(images, more), draw(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(float(loss.logged["text"]))
    assert losses[0] > 2.0
    assert losses[-1] < math.log(2) / 4 / 2  # who cannot see the image loses a coin's toss over the four tokens


# Two processes, of which one has no report


def gradients(model: MVMAE) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    whole, mine = batch(reports_first()), slice(2 * rank, 2 * rank + 2)
    share = Batch(whole.images[mine], {name: value[mine] for name, value in whole.more.items()})
    model = objective()
    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    loss = parallel(share, draw(0, rank, 2)).value
    loss.backward()
    torch.save([loss.detach(), *gradients(model)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def reports_first() -> torch.Tensor:
    return torch.where(torch.arange(4)[:, None] < 2, TEXT, 0)


def test_two_processes_of_which_one_has_no_report(tmp_path: Path) -> None:
    # A fork need not import torch again; autograd forbids it where it has started threads for a GPU.
    context: Any = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    processes = [context.Process(target=in_process, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0, 0]
    model = objective()
    loss = model(batch(reports_first()), draw()).value
    loss.backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        for a, b in zip(found, [loss.detach(), *gradients(model)], strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
