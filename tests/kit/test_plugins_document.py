"""The examples in docs/plugins.md are what ``new`` writes."""

import re
from pathlib import Path

import pytest

from cxrbench.kit.new import PluginKind, new_plugin

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
EXAMPLES: dict[PluginKind, str] = {"encoder": "my-encoder", "task": "nearest-mean", "data": "my-hospital"}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_are_what_is_written(kind: PluginKind, tmp_path: Path) -> None:
    name = EXAMPLES[kind]
    written = new_plugin(kind, name, tmp_path, text=True)
    block = re.search(f"<!-- {kind} {name} -->\n(.*?)<!-- /{kind} -->", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    module = next(path for path in written if path.name == f"{name.replace('-', '_')}.py")
    project = next(path for path in written if path.name == "pyproject.toml")
    assert block[1] == f"```python\n{module.read_text()}```\n\n```toml\n{project.read_text()}```\n"
