"""``encoders check``: a good encoder passes, and each way of being broken gets a plain answer of its own."""

import functools
import json
from pathlib import Path

import pytest

from cxrbench.api import check_encoder
from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.kit.calls import Caller
from cxrbench.kit.report import PluginCheck
from support.command import cxrbench

FILE = """
import time
import torch
import torch.nn.functional as F
from torch import nn
from cxrbench.encoder import EncoderCard, Features, Preprocess

class Good(nn.Module):
    preprocess = Preprocess(size=32, channels=1, mean=(0.5,), std=(0.25,))
    card = EncoderCard("good", licence="MIT", pretrained_on=("nih",))
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.stem = nn.Conv2d(1, 6, 4, 4)
            self.words = nn.Embedding(97, 6)
    def stages(self, images):
        x = self.stem(images)
        return tuple(F.avg_pool2d(x, 2 ** i) for i in range(4))
    def forward(self, images):
        maps = self.stages(images)
        return Features(maps[0].mean((2, 3)), maps)
    def encode_text(self, texts):
        return torch.stack([self.words(torch.tensor([ord(c) % 97 for c in t])).mean(0) for t in texts])

class NoPreprocess(Good):
    preprocess = None

class GivesTensor(Good):
    def forward(self, images):
        return self.stem(images).mean((2, 3))

class Grid(Good):
    def forward(self, images):
        return Features(self.stem(images))

class Whole(Good):
    def forward(self, images):
        return Features(super().forward(images).pooled.long())

class Half(Good):
    def forward(self, images):
        return Features(super().forward(images).pooled.half())

class Nan(Good):
    def forward(self, images):
        x = super().forward(images).pooled
        return Features(x * (images.std() / images.std()))

class Dropout(Good):
    def forward(self, images):
        return Features(F.dropout(super().forward(images).pooled, 0.5))

class StaysInTraining(Good):
    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()
    def train(self, mode=True):
        super().train(mode)
        self.norm.training = True
        return self

class BatchNorm(Good):
    def forward(self, images):
        pooled = super().forward(images).pooled
        return Features(F.batch_norm(pooled, torch.zeros(6), torch.ones(6), training=len(pooled) > 1))

class Centred(Good):
    def forward(self, images):
        pooled = super().forward(images).pooled
        return Features(pooled - pooled.mean(0))

class Shares(Good):
    thread_safe = True
    def forward(self, images):
        self.x = self.stages(images)
        time.sleep(0.01)
        return Features(self.x[0].mean((2, 3)), self.x)

class Gradient(Good):
    def forward(self, images):
        self.stem.requires_grad_(True)
        return super().forward(images)

class Cut(Good):
    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)

class TwoPerBatch(Good):
    def forward(self, images):
        return Features(super().forward(images).pooled.reshape(len(images), -1, 2).repeat(1, 1, len(images)).flatten(1))

class Tokens(Good):
    def forward(self, images):
        maps = [m.flatten(2).transpose(1, 2)[:, None] for m in self.stages(images)]
        return Features(maps[0].mean((1, 2)), tuple(maps))

class Upside(Good):
    def forward(self, images):
        given = super().forward(images)
        return Features(given.pooled, given.maps[::-1])

class Swapped(Good):
    def forward(self, images):
        given = super().forward(images)
        return Features(given.pooled, tuple(m.transpose(2, 3) for m in given.maps))

class Bytes(Good):
    preprocess = Preprocess(size=32, channels=1, mean=(0.0,), std=(1 / 255,))

class Unscaled(Good):
    preprocess = Preprocess(size=32, channels=1, mean=(118.4,), std=(57.6,))

class Faint(Good):
    preprocess = Preprocess(size=32, channels=1, mean=(0.464,), std=(57.6,))

class TwoMeans(Good):
    def __init__(self):
        super().__init__()
        self.preprocess = Preprocess(size=32, channels=3, mean=(0.5, 0.5), std=(0.25,))

class OneName(Good):
    def __init__(self):
        super().__init__()
        self.card = EncoderCard("mine", licence="MIT", pretrained_on=("mimic"))

class Squeezed(Good):
    def forward(self, images):
        given = super().forward(images)
        return Features(given.pooled.squeeze(), given.maps)

class NoMaps(Good):
    def forward(self, images):
        return Features(super().forward(images).pooled, None)

class Overwrites(Good):
    def forward(self, images):
        return super().forward(images.sub_(0.1))

class Blind(Good):
    def forward(self, images):
        given = super().forward(images)
        return Features(torch.ones_like(given.pooled) * self.stem.weight.mean(), given.maps)

class Unbuilt(Good):
    def __init__(self):
        self.stem = nn.Conv2d(1, 6, 4, 4)

class LosesText(Good):
    def encode_text(self, texts):
        return self.vocabulary[texts[0]]

class Misspelt(Good):
    card = EncoderCard("misspelt", licence="MIT", pretrained_on=("mimmic",))

class Seedless(Good):
    def __init__(self):
        super().__init__()
        self.stem.weight.data += torch.randn(())

class NarrowTexts(Good):
    def encode_text(self, texts):
        return super().encode_text(texts)[:, :2]

class NoCard(Good):
    card = None

class Silent(Good):
    card = EncoderCard("silent", licence="MIT")

class Raises(Good):
    def forward(self, images):
        raise KeyError("lost")
"""
BROKEN = {
    "NoPreprocess": ("build", "has no attribute 'preprocess'; give it one"),
    "GivesTensor": ("contract", "gives a Tensor; forward must return cxrbench Features"),
    "Grid": ("contract", "pooled is [4, 6, 8, 8] torch.float32; it must be floats [4, D]"),
    "Whole": ("contract", "pooled is [4, 6] torch.int64; it must be floats"),
    "Half": ("dtype", "float16"),
    "Nan": ("finite", "NaN or infinity for a black image"),
    "Dropout": ("determinism", "called twice, features differ by"),
    "StaysInTraining": ("eval mode", "still in train mode: norm"),
    "BatchNorm": ("batch independence", "beside other images, an image's features differ by"),
    "Centred": ("batch independence", "beside other images, an image's features differ by"),
    "Shares": ("threads", "called by 4 threads at once, features differ by"),
    "Gradient": ("gradients", "features keep a gradient though the encoder is frozen"),
    "TwoPerBatch": ("two batch sizes", "[[6]] for 1 image, [[24]] for 4"),
    "Tokens": ("maps' strides", "maps of 64 x 6, 16 x 6, 4 x 6, 1 x 6 cells"),
    "Upside": ("maps' strides", "strides 32, 16, 8, 4 of 32 pixels"),
    "Swapped": ("maps' orientation", "shows in the lower left of the first map"),
    "Bytes": ("preprocessing", "afterwards"),
    "Unscaled": ("preprocessing", "phantom images have mean -2.0"),
    "Faint": ("preprocessing", "and deviation 0.00"),
    "TwoMeans": ("build", "TwoMeans' cannot be built: Preprocess: mean has 2 numbers for 3 channel(s): give one, or 3"),
    "OneName": ("build", "pretrained_on 'mimic': give a tuple of names, ('mimic',), with a comma"),
    "Squeezed": ("two batch sizes", "pooled is [6] torch.float32; it must be floats [1, D]"),
    "NoMaps": ("contract", "maps are a NoneType; there must be a tuple of none or four"),
    "Overwrites": ("images", "its call changes them"),
    "Blind": ("different images", "have the same features"),
    "Unbuilt": ("build", "cannot assign module before Module.__init__() call ("),
    "LosesText": ("text tower", "it fails: AttributeError: 'LosesText' object has no attribute 'vocabulary' ("),
    "Seedless": ("same when built again", "other encoder weights"),
    "NarrowTexts": ("text tower", "texts are 2 wide, images 6"),
    "NoCard": ("card", "it has none"),
    "Silent": ("card", "it does not say what it was pretrained on"),
    "Raises": ("contract", "it fails on images [4, 1, 32, 32]: KeyError: 'lost' ("),
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kit") / "mine.py"
    path.write_text(FILE)
    return path


@functools.cache
def to_mend(spec: str) -> list[PluginCheck]:
    report = check_encoder(spec)
    found = [one for one in report.checks if one.state == "mend"]
    assert report.ok is (not found)
    assert all(one.advice and "\n" not in one.found + one.advice for one in found)
    return found


def test_a_good_encoder_has_nothing_to_mend(mine: Path) -> None:
    report = check_encoder(f"{mine}:Good")
    assert [one for one in report.checks if one.state != "pass"] == []
    assert len({one.check for one in report.checks}) == len(report.checks) == 18
    assert report.facts["parameters"] == 6 * 17 + 97 * 6
    assert "strides 4, 8, 16, 32 of 32 pixels" in str(report)


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_has_an_answer_of_its_own(name: str, mine: Path) -> None:
    check, said = BROKEN[name]
    first, *_ = to_mend(f"{mine}:{name}")
    assert (first.check, said in first.found) == (check, True), first


def test_thirty_faults_get_thirty_answers(mine: Path) -> None:
    answers = {
        (found.check, found.found.partition(" (")[0]) for name in BROKEN for found in to_mend(f"{mine}:{name}")[:1]
    }
    assert len(answers) >= len(BROKEN) - 1  # Centred and BatchNorm may differ by the same share


@pytest.mark.parametrize("name", ["NoPreprocess", "GivesTensor", "Grid", "NoMaps", "Squeezed", "Raises"])
def test_a_broken_contract_is_told_once(name: str, mine: Path) -> None:
    """What else is looked at needs the contract, and would repeat what is broken."""
    assert len(to_mend(f"{mine}:{name}")) == 1


def test_a_failure_is_blamed_on_the_line_of_the_encoder(mine: Path) -> None:
    """Not on the line of torch in which it comes out."""
    line = FILE[: FILE.index("self.stem = nn.Conv2d(1, 6, 4, 4)\n\nclass LosesText")].count("\n") + 1
    assert f"({mine}, line {line})" in to_mend(f"{mine}:Unbuilt")[0].found


def test_what_cannot_be_fine_tuned_is_remarked(mine: Path) -> None:
    report = check_encoder(f"{mine}:Cut")
    assert report.ok
    assert [one.check for one in report.checks if one.state == "remark"] == ["gradients"]


def test_a_slip_in_the_name_of_a_data_set_is_remarked(mine: Path) -> None:
    """The mark of what an encoder has seen rests on it; a name of what is no data set here (imagenet) is none."""
    found = {one.check: one for one in check_encoder(f"{mine}:Misspelt").checks}["card"]
    assert (found.state, "'mimmic' is no data set here, mimic is" in found.found) == ("remark", True)


@pytest.mark.usefixtures("folders")
def test_exit_codes(mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["encoders", "check"]
    code, out, _ = cxrbench(monkeypatch, capsys, *words, f"{mine}:Silent", "--json")
    said = json.loads(out)
    assert (code, said["ok"], {c["check"] for c in said["checks"] if c["state"] == "mend"}) == (1, False, {"card"})
    code, out, _ = cxrbench(monkeypatch, capsys, *words, f"{mine}:Good")
    assert (code, "nothing to mend" in out) == (0, True)
    Path("broken.py").write_text("import no_such_module\n")
    code, out, _ = cxrbench(monkeypatch, capsys, *words, "./broken.py:Mine")
    assert code == 1
    assert "ModuleNotFoundError: No module named 'no_such_module' (" in out
    code, out, _ = cxrbench(monkeypatch, capsys, *words, f"{mine}:Absent")
    assert (code, "has no 'Absent'; it defines: Good" in out) == (1, True)
    for wrong, why in (("./nowhere.py:Mine", "no file"), ("imagnet", "did you mean 'imagenet'"), ("x@", "empty part")):
        code, _, err = cxrbench(monkeypatch, capsys, *words, wrong)
        assert (code, len(err.splitlines()), why in err) == (2, 1, True)


def test_it_is_called_on_the_device_that_is_named(mine: Path) -> None:
    loaded = load_encoder(f"{mine}:Good", synthetic=True)
    caller = Caller(loaded, "meta")
    assert caller(caller.images([0, 1])).pooled.device.type == "meta"
    with pytest.raises(UserError, match="device 'gpu' is not usable here"):
        check_encoder(f"{mine}:Good", device="gpu")
