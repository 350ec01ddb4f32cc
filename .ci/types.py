"""pyright on the installed package: what a user's type checker sees, from a wheel, not from this folder."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

root = Path(__file__).resolve().parents[1]
with tempfile.TemporaryDirectory() as scratch:
    site = Path(scratch) / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(root)], check=True)
    config = {
        "include": ["site/cxrbench"],
        "extraPaths": [str(site)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
    }
    Path(scratch, "pyrightconfig.json").write_text(json.dumps(config))
    pyright = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", scratch]
    sys.exit(subprocess.run(pyright).returncode)
