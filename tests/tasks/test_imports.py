"""What a plan needs of the protocols costs no torch: they are imported, configured and named without it."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

HEAVY = (
    "torch", "torchvision", "sklearn", "scipy", "transformers", "segmentation_models_pytorch", "timm", "lightning",
    "matplotlib",
)  # fmt: skip
SCRIPT = """
import importlib, json, sys
from cxrbench.task import TaskOptions
said = {}
for value in json.loads(sys.argv[1]):
    module, _, name = value.partition(":")
    task = getattr(importlib.import_module(module), name)
    configured = task.configured(TaskOptions(views="2", epochs=1, augment=1, decoder="linear"))
    said[configured.protocol] = configured.version
from cxrbench.tasks import fractions, standardize
from cxrbench.tasks.presets import data, recipes
said |= {name: recipes.run_settings(name) for name in recipes.names()}
print(json.dumps([len(said), [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def test_no_protocol_imports_a_network_before_it_runs() -> None:
    points = [p.value for p in entry_points(group="cxrbench.tasks") if p.value.startswith("cxrbench.")]
    assert len(points) >= 10
    words = [sys.executable, "-c", SCRIPT, json.dumps(points), json.dumps(HEAVY)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    number, imported = json.loads(done.stdout)
    assert number == len(points) + 5
    assert imported == []
