"""A user's own encoder, as a file and as an installed package, and what it is told when it breaks the contract."""

from pathlib import Path

import pytest
import torch

from cxrbench.engine.registry import load_encoder
from cxrbench.errors import UserError
from cxrbench.plugins.listing import Listing, list_encoders
from cxrbench.plugins.loading import LoadedEncoder, probe

MINE = '''
import torch
from cxrbench.encoder import EncoderCard, EncoderPlugin, Features, Preprocess

class Mine(torch.nn.Module):
    """Rows of pixels."""
    preprocess = Preprocess(size=8, channels=1)

    def __init__(self, weights=None):
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        torch.nn.init.constant_(self.linear.weight, 0.5 if weights is None else float(weights))
        torch.nn.init.zeros_(self.linear.bias)
        self.register_buffer("fixed", torch.zeros(()), persistent=False)

    def forward(self, images):
        return Features(self.linear(images.mean((1, 2))))

class Sub(Mine):
    def __init__(self):
        super().__init__()

class NoPreprocess(Sub):
    preprocess = None

class WrongPreprocess(Sub):
    preprocess = 224

class NoForward(torch.nn.Module):
    preprocess = Preprocess(size=8)

class NotAModule:
    preprocess = Preprocess(size=8)

class BadCard(Sub):
    card = "me"

class GivesTensor(Sub):
    def forward(self, images):
        return images

class GivesGrid(Sub):
    def forward(self, images):
        return Features(images)

class ThreeMaps(Sub):
    def forward(self, images):
        return Features(images.mean((1, 2)), (images,) * 3)

class Fails(Sub):
    def forward(self, images):
        raise RuntimeError("no luck\\nat all")

class Raises(Sub):
    def __init__(self):
        raise KeyError("lost")

class Needs(Sub):
    def __init__(self, path, other):
        super().__init__()

number = 3

def loader(request):
    return Mine(request.weights)

PLUGIN = EncoderPlugin(load=loader, summary="mine", usage="mine[@NUMBER]", phantom_weights="0.25",
                       without_weights="train it")
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my@folder" / "mine.py"
    path.parent.mkdir()
    path.write_text(MINE)
    return path


def load(text: str) -> LoadedEncoder:
    return load_encoder(text, synthetic=False)


def test_a_file_of_ones_own(mine: Path) -> None:
    loaded = load(f"{mine}:Mine")
    assert probe(loaded).pooled.shape == (2, 4)
    module = loaded.module
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert (loaded.spec.name, loaded.spec.card.method, loaded.spec.parameters) == (f"{mine}:Mine", "Mine", 36)
    weighted = load(f"{mine}:Mine@0.75")
    assert weighted.module.linear.weight[0, 0] == 0.75  # type: ignore[attr-defined]
    assert weighted.spec.weights_sha256 != loaded.spec.weights_sha256
    assert weighted.spec.source_sha256 == loaded.spec.source_sha256


def test_the_fingerprint_sees_weights_buffers_source_and_preprocessing(mine: Path, tmp_path: Path) -> None:
    def fingerprint(old: str = "", new: str = "") -> str:
        copy = tmp_path / "copy.py"
        copy.write_text(MINE.replace(old, new) if old else MINE)
        return load(f"{copy}:Mine").spec.fingerprint

    same = {fingerprint(), load(f"{mine}:Mine").spec.fingerprint}
    assert len(same) == 1  # the path is not part of it
    changes = [
        ("constant_(self.linear.weight, 0.5", "constant_(self.linear.weight, 0.6"),
        ('"fixed", torch.zeros(())', '"fixed", torch.ones(())'),
        ("Preprocess(size=8, channels=1)", "Preprocess(size=8, channels=1, crop_pct=0.9)"),
        ("images.mean((1, 2))", "images.amax((1, 2))"),
    ]
    assert len(same | {fingerprint(old, new) for old, new in changes}) == 1 + len(changes)


def test_a_backbone_in_another_file_is_part_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "own_backbone.py").write_text("import torch\nclass Backbone(torch.nn.Identity):\n    pass\n")
    (tmp_path / "uses.py").write_text(
        "import torch\nfrom own_backbone import Backbone\nfrom cxrbench.encoder import Features, Preprocess\n"
        "class E(torch.nn.Module):\n    preprocess = Preprocess(size=8)\n"
        "    def __init__(self):\n        super().__init__()\n        self.backbone = Backbone()\n"
        "    def forward(self, x):\n        return Features(self.backbone(x).mean((2, 3)))\n"
    )
    before = load(f"{tmp_path / 'uses.py'}:E").spec
    (tmp_path / "own_backbone.py").write_text("import torch\nclass Backbone(torch.nn.Identity):\n    '''Changed.'''\n")
    assert load(f"{tmp_path / 'uses.py'}:E").spec.source_sha256 != before.source_sha256


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoPreprocess", "has no attribute 'preprocess'; give it one"),
        ("WrongPreprocess", "has preprocess 224; give it one"),
        ("NoForward", r"no forward\(images\) -> Features"),
        ("NotAModule", "gave a NotAModule; an encoder is a torch.nn.Module"),
        ("BadCard", "its card is a str"),
        ("Raises", r"cannot be built: KeyError: 'lost' \(.*mine\.py, line \d+\)"),
        ("Needs", "it needs arguments"),
        ("Sub@x", "it takes no weights"),
        ("number", "is a int, not a class, function or EncoderPlugin"),
        ("Missing", "has no 'Missing'; it defines: Mine, Sub"),
    ],
)
def test_broken_contracts_at_loading(name: str, message: str, mine: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(f"{mine}:{name}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GivesTensor", "gives a Tensor; forward must return cxrbench Features"),
        ("GivesGrid", r"pooled is \[2, 1, 8, 8\] torch.float32; it must be floats \[2, D\]"),
        ("ThreeMaps", "there must be none, or four"),
        ("Fails", r"fails on images of shape \[2, 1, 8, 8\]: RuntimeError: no luck \("),
    ],
)
def test_broken_contracts_on_images(name: str, message: str, mine: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        probe(load(f"{mine}:{name}"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module' \(.*broken\.py, line 1\)"),
        ("x = 1\ndef f(:", r"SyntaxError: .*broken\.py, line 2\)"),
        ("raise SystemExit(3)", r"SystemExit: 3 \(.*broken\.py, line 1\)"),
    ],
)
def test_a_file_that_cannot_be_imported(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(UserError, match=message):
        load(f"{tmp_path / 'broken.py'}:E")


def install(folder: Path, package: str, entry_points: str) -> None:
    """What pip leaves of a package: its metadata beside its modules."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cxrbench.encoders]\n{entry_points}\n")


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_encoder.py").write_text(MINE)
    install(tmp_path, "theirs", "theirs = their_encoder:PLUGIN\nplain = their_encoder:Mine\nbroken = nowhere:PLUGIN")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("plain@0.25").module.linear.weight[0, 0] == 0.25  # type: ignore[attr-defined]
    phantom = load_encoder("theirs", synthetic=True)
    assert phantom.module.linear.weight[0, 0] == 0.25  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="'theirs' has no weights for real images: train it"):
        load("theirs")
    with pytest.raises(UserError, match=r"plain has no variants; write plain\[@WEIGHTS\]"):
        load("plain:big")
    with pytest.raises(UserError, match=r"broken .*cannot be imported: ModuleNotFoundError"):
        load("broken")
    listings = {listing.name: listing for listing in list_encoders()}
    assert listings["theirs"] == Listing("theirs", "mine", "mine[@NUMBER]", has_phantom_weights=True)
    assert listings["plain"].summary == "Rows of pixels."
    assert "nowhere" in listings["broken"].problem
    install(tmp_path / "again", "others", "theirs = elsewhere:PLUGIN")
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    with pytest.raises(
        UserError, match=r"several installed packages offer encoder 'theirs' \(elsewhere:PLUGIN, their_"
    ):
        load("theirs")


def test_every_built_in_encoder_can_be_imported() -> None:
    listings = {listing.name: listing for listing in list_encoders()}
    assert {"spcl", "random", "pixels", "imagenet", "timm", "hf", "open_clip"} <= listings.keys()
    for listing in listings.values():
        assert (listing.problem, bool(listing.summary), bool(listing.usage)) == ("", True, True)
