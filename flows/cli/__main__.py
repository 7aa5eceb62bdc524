"""The ``tidemark`` command, as ``python -m flows.cli``."""

from flows.cli import main

main(prog_name="tidemark")
