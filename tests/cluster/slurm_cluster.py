"""A real Slurm of several nodes on this machine, in a folder of its own: for tests, and to try things by hand.

    python tests/cluster/slurm_cluster.py [--nodes 2] [--cpus 1] [COMMAND ...]

starts munged, slurmctld and a slurmd per node, runs COMMAND (a shell, if there is none) with SLURM_CONF set, and stops
them again, whatever ends it. Needs Debian's ``slurmctld slurmd slurm-client munge`` (``apt-get install
--no-install-recommends``), not their system services, and root.
"""

import getpass
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from cluster.by_hand import cluster_parser, run_beside
from cluster.daemons import Daemons, free_ports, lacking, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "setpriv")
CONF = """
ClusterName=cxrbench
SlurmctldHost=localhost
SlurmctldPort={ctld}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=10
MinJobAge=3600
KillWait=10
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


def why_not() -> str:
    """Why there can be no Slurm here, in one line; "" if there can."""
    return lacking(*PROGRAMS) or ("Slurm is started as root" if os.getuid() else "")


@dataclass
class Slurm:
    """A Slurm of nodes ``n1``, ``n2``, ... with the partitions ``work`` and ``urgent``, which preempts ``work``.

    A context manager. ``env``: the environment in which sbatch and its like find it.
    """

    folder: Path
    nodes: int = 2
    cpus: int = 1
    env: dict[str, str] = field(init=False)
    daemons: Daemons = field(init=False)

    def __post_init__(self) -> None:
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemons = Daemons(self.folder / "log", self.env, "SLURM_CONF")

    def __enter__(self) -> "Slurm":
        try:
            self._start()
        except BaseException:
            self.daemons.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run("scancel", f"--user={getpass.getuser()}", check=False)
        self.daemons.stop()

    def _start(self) -> None:
        folder = self.folder
        for name in ("state", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        ctld, *ports = free_ports(1 + self.nodes)
        nodes = [
            f"NodeName=n{k} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus}"
            for k, port in enumerate(ports, 1)
        ]
        text = CONF.format(ctld=ctld, user=getpass.getuser(), folder=folder, nodes="\n".join(nodes))
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        # --force: a temporary folder may be open to others, which this key of a test need not mind
        self.daemons.start("munged", [
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/log/munge.log", f"--seed-file={folder}/munge.seed",
            "--num-threads=2",
        ])  # fmt: skip
        wait_until(lambda: (folder / "munge.socket").exists() or self.daemons.check() is not None, "munged")
        self.daemons.start("slurmctld", ["slurmctld", "-D", "-c"])
        for k in range(1, self.nodes + 1):
            self.start_node(k)
        wait_until(lambda: self.states() == ["idle"] * self.nodes, "all nodes of Slurm")

    def start_node(self, k: int) -> None:
        """Start the slurmd of node k, counted from 1."""
        self.daemons.start(f"slurmd-n{k}", ["slurmd", "-D", "-N", f"n{k}"], SLURMD_NODENAME=f"n{k}")

    def kill_node(self, k: int) -> None:
        """Kill the slurmd of node k as a failing machine does, with the jobs that run on it."""
        self.daemons.kill(f"slurmd-n{k}", SLURMD_NODENAME=f"n{k}")

    def states(self) -> list[str]:
        """What sinfo says of each node: idle, mixed, allocated, down, ..."""
        self.daemons.check()
        return self.run("sinfo", "--noheader", "--Node", "--partition=work", "--format=%T", check=False).split()

    def jobs(self, job: str = "") -> dict[str, str]:
        """State of every job and array task that Slurm knows (of ``job``), by its number."""
        only = [f"--jobs={job}"] if job else []
        lines = self.run("squeue", "--noheader", "--states=all", "--array", "--format=%i %T", *only).splitlines()
        return dict(line.split() for line in lines)

    def run(self, *command: str, check: bool = True) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=check)
        return done.stdout


def main(words: Sequence[str] | None = None) -> int:
    """Run a command beside a Slurm of its own; its exit code."""
    parser = cluster_parser("Slurm")
    asked = parser.parse_args(words)
    return run_beside(lambda folder: Slurm(folder, asked.nodes, asked.cpus), "Slurm", why_not(), asked.command)


if __name__ == "__main__":
    raise SystemExit(main())
