"""The records of operations: what they say of themselves, and the list made from them."""

import subprocess
import sys
from pathlib import Path

import torch

from aimc_sim import ops
from aimc_sim.digital.apply import SUBSTITUTES
from aimc_sim.ops.listing import listing

DOCS = Path(__file__).parents[2] / "docs"


def test_every_operation_of_aten_is_one():
    missing = [name for name in ops.ATEN if not hasattr(torch.ops.aten, name)]
    assert not missing
    assert set(ops.ATEN) >= set(SUBSTITUTES)


def test_the_documentation_lists_the_records():
    assert (DOCS / "operations.md").read_text() == listing()


def test_records_are_read_without_torch():
    code = "import sys, aimc_sim.ops, aimc_sim.mapping; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
