"""``python -m cxrbench`` is the ``cxrbench`` command, and where it begins."""

import sys


def main() -> None:
    """Import the command and call it. Ctrl-C meanwhile, which takes seconds on a busy machine, is as ever."""
    try:
        from cxrbench.cli.main import main as command
    except KeyboardInterrupt:
        print("interrupted before anything was begun", file=sys.stderr)
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
