"""The Hugging Face hub, or the copies of it on this machine when there is no network."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

from huggingface_hub import constants

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
TIMEOUT = 5.0  # seconds


@contextmanager
def hub() -> Iterator[None]:
    """Without network, only look at what was fetched before: the hub's client would retry for most of a minute."""
    log = logging.getLogger("huggingface_hub")
    level, offline = log.level, constants.HF_HUB_OFFLINE
    log.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = offline or not reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        log.setLevel(level)


def reachable(endpoint: str) -> bool:
    """Whether the endpoint's host answers. Behind a proxy nobody can tell, and the answer is yes."""
    if any(os.environ.get(name) for name in PROXIES):
        return True
    url = urlparse(endpoint)
    try:
        with socket.create_connection((url.hostname, url.port or (443 if url.scheme == "https" else 80)), TIMEOUT):
            return True
    except OSError:
        return False
