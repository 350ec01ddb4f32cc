"""Pictures of a board for papers, drawn by matplotlib from the dataclasses of ``pictures``: one module per picture."""
