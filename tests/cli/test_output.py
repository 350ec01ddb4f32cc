"""Where -o writes: a file, whole, in UTF-8; a pipe as it comes; and what it refuses before anything is computed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cxrbench.cli.leaderboard import may_be_written, write
from cxrbench.errors import UserError


def test_a_folder_and_a_name_too_long_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        may_be_written(tmp_path)
    with pytest.raises(UserError, match="File name too long"):
        may_be_written(tmp_path / ("n" * 300))
    assert may_be_written(tmp_path / "board.md") == tmp_path / "board.md"


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write("a – b", pipe)
    reader.join()
    assert heard == ["a – b"]
    assert pipe.is_fifo()


def test_a_terminal_without_our_letters_gets_escapes_and_a_file_gets_utf8(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cxrbench', '--version']\n"
        "from pathlib import Path\n"
        "from cxrbench.cli.main import main\n"
        "main()\n"
        "from cxrbench.cli.leaderboard import write\n"
        f"write('a \\u2013 b', None); write('a \\u2013 b', Path({str(tmp_path / 'file')!r}))"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | plain, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == rb"a \u2013 b"
    assert (tmp_path / "file").read_bytes() == "a – b".encode()
