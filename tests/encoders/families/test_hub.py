import socket

import pytest
from huggingface_hub import constants

from cxrbench.encoders.families.hub import PROXIES, hub


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def offline_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with hub():
        inside = constants.HF_HUB_OFFLINE
    assert constants.HF_HUB_OFFLINE is False
    return inside


def test_offline_only_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert not offline_at(endpoint, monkeypatch)
    assert offline_at(endpoint, monkeypatch)
    assert offline_at("https://no-such-host.invalid", monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert not offline_at(endpoint, monkeypatch)
