"""``python -m cxrbench`` is the ``cxrbench`` command."""

from cxrbench.cli import main

main()
