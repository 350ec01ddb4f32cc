"""What axe-core finds wrong with a page for those who cannot see it, or cannot use a mouse."""

from typing import Any

import pytest
from page_browser.settled import settled


def faults(page: Any) -> list[str]:
    """What it calls serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    settled(page)
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
            for node in one["nodes"]]  # fmt: skip
