"""``python -m aimc_sim``: the same as the command ``aimc-sim``."""

from aimc_sim.cli import main

main()
