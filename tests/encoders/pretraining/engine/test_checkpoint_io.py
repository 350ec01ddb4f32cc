"""Training checkpoints on disk: every bit counts, and what to do about damage is said."""

import json
import resource
from pathlib import Path

import pytest
import torch

from cxrbench.encoders.backbones.checkpoint import KEY
from cxrbench.encoders.pretraining.engine.checkpoint_io import AtomicIO
from cxrbench.encoders.pretraining.engine.pretrain import COMPARED, resume_point
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_checkpoint
from support.flips import unnoticed

FACTS = {"config": {"seed": 0}, **dict.fromkeys(COMPARED)}
TEXT = json.dumps(FACTS)


def saved(path: Path, step: int = 7) -> Path:
    content = {KEY: TEXT, "global_step": step, "state_dict": {"w": torch.arange(500.0)}}
    AtomicIO().save_checkpoint(content, path)
    return path


def test_a_flipped_bit_is_noticed_before_a_run_goes_on(tmp_path: Path) -> None:
    last = saved(tmp_path / "last.ckpt")
    assert resume_point(last, FACTS) == (7, {})
    assert unnoticed(last, lambda: resume_point(last, FACTS), 60) == []
    assert unnoticed(last, lambda: read_checkpoint(last), 60, seed=1) == []


def test_damage_says_which_kept_checkpoint_is_whole(tmp_path: Path) -> None:
    last = saved(tmp_path / "last.ckpt")
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"last\.ckpt is damaged .*no other checkpoint was kept .*begin anew"):
        resume_point(last, FACTS)
    for epoch in (1, 2, 3):
        saved(tmp_path / f"epoch-{epoch:04d}.ckpt", epoch)
    (tmp_path / "epoch-0003.ckpt").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged .*copy epoch-0002\.ckpt, which is whole") as error:
        resume_point(last, FACTS)
    assert "\n" not in str(error.value)
    (tmp_path / "epoch-0002.ckpt").replace(last)
    assert resume_point(last, FACTS) == (2, {})


def test_hashes_of_other_data_are_told_by_their_first_digits(tmp_path: Path) -> None:
    last, now = saved(tmp_path / "last.ckpt"), FACTS | {"image_set": "0123456789ab" + 52 * "c"}
    with pytest.raises(UserError, match=r"\(image_set was None, is 0123456789ab\): use"):
        resume_point(last, now)


def test_a_checkpoint_without_a_checksum_is_not_gone_on_from(tmp_path: Path) -> None:
    torch.save({KEY: TEXT, "global_step": 7}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="carries no checksum"):
        resume_point(tmp_path / "last.ckpt", FACTS)


def test_a_full_disk_is_one_line_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    last = saved(tmp_path / "last.ckpt")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # no file above 2 kB
        with pytest.raises(UserError, match=r"cannot write to .*free some space"):
            saved(last, step=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert resume_point(last, FACTS)[0] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
