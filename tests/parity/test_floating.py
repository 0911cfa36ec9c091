"""Floating lines as convolutions against the sums of one core, and the two twins."""

import numpy as np
import pytest
import torch

from aimc_sim.core import idle
from aimc_sim.runtime import floating

ROWS, COLUMNS = 40, 6


def case(rng, n, both_signs, dtype=torch.float32):
    """Return n crossbars of one layer, as lines and as what the executor holds."""
    every = [
        idle.IdleLines(rng.random((ROWS, COLUMNS)), rng.random(ROWS) / ROWS, rng.random(ROWS) / 99)
        for _ in range(n)
    ]
    one = np.ones(ROWS)

    def columns(*parts):
        return torch.from_numpy(np.column_stack(parts).T.copy()).to(dtype)

    shares, weights = [lines.share for lines in every], [lines.weight for lines in every]
    held = floating.FloatingLines(
        columns(one, *shares, *weights, *(lines.reach for lines in every)),
        columns(*weights, one), columns(one),
        torch.tensor(np.array([lines.reach.sum(0) for lines in every]), dtype=torch.float32),
        torch.tensor([share.sum() for share in shares], dtype=torch.float32), 127.0, both_signs,
    )  # fmt: skip
    return every, held


def product(x, kernel):
    return torch.einsum("nrhw,cr->nchw", x, kernel).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("combine", ["combine_compiled", "combine_plain"])
@pytest.mark.parametrize("low", [0, -127], ids=["positive", "signed"])
@pytest.mark.parametrize(("n", "mode"), [(2, "4-phase"), (1, "4-phase"), (1, "1-phase")])
def test_against_the_sums_of_a_core(n, mode, low, combine, rng, monkeypatch):
    every, held = case(rng, n, mode == "1-phase")
    monkeypatch.setattr(floating, "combine_compiled", getattr(floating, combine))
    codes = rng.integers(low, 128, (30, ROWS)).astype(np.float32)
    charge = torch.zeros(30, n * COLUMNS, 1, 1).contiguous(memory_format=torch.channels_last)
    maps = torch.from_numpy(codes)[:, :, None, None]
    held.add(product, maps, charge, negative=bool(codes.min() < 0))
    for k, lines in enumerate(every):
        wanted = idle.high_impedance_correction(lines, codes, 127.0, mode)
        found = charge[:, k * COLUMNS : (k + 1) * COLUMNS, 0, 0].numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_twins_agree_in_bfloat16(rng):
    _, held = case(rng, 2, False, torch.bfloat16)
    x = torch.from_numpy(rng.integers(0, 128, (5, ROWS, 3, 4)).astype(np.float32))
    found = []
    for combine in (floating.combine_compiled, floating.combine_plain):
        charge = torch.zeros(5, 2 * COLUMNS, 3, 4).contiguous(memory_format=torch.channels_last)
        maps = [product(part.bfloat16(), kernel) for part, kernel in (
            (x, held.lengths), (x.sign(), held.signs), (x.square(), held.one),
        )]  # fmt: skip
        narrow = torch.cat([maps[0][:, :5], maps[1], maps[2]], 1).float()
        combine(held, narrow, maps[0], 1.0, charge)
        found.append(charge)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5 * float(found[0].abs().max()))
