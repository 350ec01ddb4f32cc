"""Install a bundle into a fresh environment without a network, and try it on the phantom.

Part of a bundle (``cxrbench bundle``); the standard library alone is needed:

    python3 check.py                    # makes ./venv beside this file, installs, runs the demo
    python3 check.py --venv /opt/cxr    # into that one; where it is there already, what is in it stays

Exit code 0: every file is as it was packed, everything installs from this folder, and the demo gives a leaderboard.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUMS, FACTS = "SHA256SUMS", "bundle.json"
TASK = "chexpert:classification"


def main() -> int:
    """Check the files, install, try. The exit code."""
    parser = argparse.ArgumentParser(description="Install this bundle without a network and try it on the phantom.")
    parser.add_argument("--venv", type=Path, default=HERE / "venv", help="environment to make or use")
    parser.add_argument("--no-demo", action="store_true", help="install only")
    asked = parser.parse_args()
    facts = json.loads((HERE / FACTS).read_text(encoding="utf-8"))
    if wrong := changed():
        print(f"{len(wrong)} files are not as they were packed: {', '.join(wrong[:3])}; copy the bundle again")
        return 1
    print(f"every file is as it was packed ({facts['made_for']})")
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if ours != facts["python"]:
        print(
            f"these wheels are for Python {facts['python']}, this is {ours}: run check.py with python{facts['python']}"
        )
        return 2
    place = asked.venv.absolute()  # programs are started in this file's folder, wherever that was said
    python = place / ("Scripts" if os.name == "nt" else "bin") / ("python.exe" if os.name == "nt" else "python")
    if not python.exists():
        venv.create(place, with_pip=True)
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(HERE / "wheels"))
    absent = facts["without"] and run(python, "-c", "import torch, torchvision", quiet=True)
    if absent and run(python, *pip, *facts["without"], quiet=True):
        print(
            f"this bundle has no torch: install {' and '.join(facts['without'])} into {asked.venv}, or put their "
            f"wheels, and those that they need, into {HERE / 'wheels'}; then run check.py again"
        )
        return 2
    if code := run(python, *pip, facts["install"]):
        return code
    print(f"installed: {facts['install']}")
    return 0 if asked.no_demo else demo(python, facts["encoders"])


def demo(python: Path, encoders: list[str]) -> int:
    """A small board of phantom images by the bundle's encoders."""
    command = python.with_name("cxrbench.exe" if os.name == "nt" else "cxrbench")
    results = HERE / "demo" / "results"
    specs = ",".join(dict.fromkeys(["pixels", "random", *encoders]))
    if code := run(command, "run", "--encoder", specs, "--tasks", TASK, "--results", str(results)):
        return code
    return run(command, "leaderboard", "--results", str(results), "--metrics", "auroc")


def changed() -> list[str]:
    """Files that are missing or not as they were packed, by the sums beside them."""
    wrong = []
    for line in (HERE / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = HERE / name
        if not path.is_file():
            wrong.append(name)
            continue
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                wrong.append(name)
    return wrong


def run(program: Path, *words: str, quiet: bool = False) -> int:
    """Run a program from this folder, kept from any network and from the user's own settings; its exit code."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "CXRBENCH_"))}
    env |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HF_HUB_OFFLINE": "1"}
    env |= {"PIP_CONFIG_FILE": os.devnull, "CXRBENCH_CACHE": str(HERE / "demo" / "cache")}
    silent = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        [str(program), *words], cwd=HERE, env=env, check=False, stdout=silent, stderr=silent
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
