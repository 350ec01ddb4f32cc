"""A Ray cluster of several nodes on this machine: for tests, and to try things by hand.

    python tests/cluster/ray_cluster.py [--nodes 2] [--cpus 1] [--gpus 0] [COMMAND ...]

starts a head and the other nodes, runs COMMAND (a shell, if there is none) with RAY_ADDRESS set, and stops them again,
whatever ends it. Needs the package ``ray``. GPUs that are not there may be said: Ray counts, it does not look.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from cluster.by_hand import cluster_parser, run_beside
from cluster.daemons import Daemons, free_ports, lacking, wait_until

SPILLING_OFF = '{"automatic_object_spilling_enabled": false}'
RAY = (sys.executable, "-m", "ray.scripts.scripts")
WAITING = """
import sys, time
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
for _ in range(100):
    if sum(node["Alive"] for node in ray.nodes()) == int(sys.argv[1]):
        raise SystemExit(0)
    time.sleep(0.1)
raise SystemExit(1)
"""
MEMORY = 80_000_000
"""Bytes of a node's object store: the least that Ray takes."""


def why_not() -> str:
    """Why there can be no Ray here, in one line; "" if there can."""
    return lacking("setpriv") or ("" if importlib.util.find_spec("ray") else "not installed here: the package ray")


@dataclass
class RayCluster:
    """Nodes of one Ray cluster, the head first. A context manager. ``env``: the environment in which Ray finds it."""

    folder: Path
    nodes: int = 2
    cpus: int = 1
    gpus: float = 0
    env: dict[str, str] = field(init=False)
    daemons: Daemons = field(init=False)

    def __post_init__(self) -> None:
        (port,) = free_ports(1)
        self.env = {**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_USAGE_STATS_ENABLED": "0"}
        self.daemons = Daemons(self.folder / "log", self.env, "RAY_ADDRESS")

    def __enter__(self) -> "RayCluster":
        try:
            _, port = self.env["RAY_ADDRESS"].split(":")
            self._ray("head", "--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false",
                      f"--temp-dir={self.folder}/ray", f"--system-config={SPILLING_OFF}")  # fmt: skip
            wait_until(self._answers, "the head of Ray")
            for k in range(2, self.nodes + 1):
                self.start_node(k)
            wait_until(lambda: self.has(self.nodes), "all nodes of Ray")
        except BaseException:
            self.daemons.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.daemons.stop()

    def start_node(self, k: int) -> None:
        """Start node k, counted from 2: the head is the first."""
        self._ray(f"node-{k}", f"--address={self.env['RAY_ADDRESS']}", node=str(k))

    def kill_node(self, k: int) -> None:
        """Kill node k as a failing machine does, with what runs on it."""
        self.daemons.kill(f"node-{k}", RAY_TEST_NODE=str(k))

    def has(self, nodes: int) -> bool:
        """Whether the cluster is there and has as many nodes that live; waits for a while for them to come."""
        self.daemons.check()
        command = [sys.executable, "-c", WAITING, str(nodes)]
        return subprocess.run(command, env=self.env, capture_output=True, check=False).returncode == 0

    def _answers(self) -> bool:
        """Whether the head listens."""
        self.daemons.check()
        host, port = self.env["RAY_ADDRESS"].split(":")
        with socket.socket() as one:
            return one.connect_ex((host, int(port))) == 0

    def _ray(self, name: str, *words: str, node: str = "1") -> None:
        command = [*RAY, "start", "--block", "--disable-usage-stats", f"--num-cpus={self.cpus}",
                   f"--num-gpus={self.gpus:g}", f"--object-store-memory={MEMORY}", *words]  # fmt: skip
        self.daemons.start(name, command, RAY_TEST_NODE=node)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command beside a Ray cluster of its own; its exit code."""
    parser = cluster_parser("Ray cluster")
    parser.add_argument("--gpus", type=float, default=0, help="of each node, as it says")
    asked = parser.parse_args(words)
    return run_beside(
        lambda folder: RayCluster(folder, asked.nodes, asked.cpus, asked.gpus), "Ray", why_not(), asked.command
    )


if __name__ == "__main__":
    raise SystemExit(main())
