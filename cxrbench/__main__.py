"""``python -m cxrbench`` is the ``cxrbench`` command."""

from cxrbench.cli.main import main

main()
