"""What ``auto`` means where torch is not asked is what it means where it is."""

from pathlib import Path

import pytest
import torch

from cxrbench.features.device import chosen_device, has_bf16, may_have_accelerator, resolve_device, resolve_precision


def test_auto_is_what_torch_says_here() -> None:
    assert chosen_device("auto") == str(resolve_device("auto")) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen_device("cpu") == str(torch.device("cpu"))
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert has_bf16("cpu") == has_bf16(torch.device("cpu")) == native
    assert resolve_precision("auto", "cpu") == ("bf16" if native else "fp32")
    assert resolve_precision("fp32", "cuda") == "fp32"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512_bf16 sse", True), ("amx_bf16 amx_tile", True), ("avx512f avx512bw", False), ("", False)],
)
def test_a_cpu_with_bf16_is_known_by_its_flags(flags: str, expected: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: avx512_bf16\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert has_bf16("cpu", cpuinfo) is expected


@pytest.mark.parametrize("driver", ["nvidia0", "nvidiactl", "kfd", "dxg", "nvmap"])
def test_torch_is_asked_wherever_there_may_be_a_gpu(driver: str, tmp_path: Path) -> None:
    assert not may_have_accelerator(tmp_path, {}, "linux")
    assert may_have_accelerator(tmp_path, {}, "darwin")
    (tmp_path / driver).touch()
    assert may_have_accelerator(tmp_path, {}, "linux")
    assert may_have_accelerator(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"}, "linux")
    for hidden in ("", "-1"):
        assert not may_have_accelerator(tmp_path, {"CUDA_VISIBLE_DEVICES": hidden}, "linux")
