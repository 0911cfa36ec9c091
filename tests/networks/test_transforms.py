"""Transformers of a library: rotated ones equal the network, or are refused with the reason."""

from __future__ import annotations

import copy

import pytest
from networks import language
from networks.cases import fed, made
from networks.test_networks import parameters

import aimc_sim
from aimc_sim import transforms
from aimc_sim.frontend import examples
from aimc_sim.transforms import parity

EQUAL = {
    # Norms that compute in float32 by themselves round at 1e-7.
    "transformers gpt2": 1e-10, "transformers opt": 1e-10, "transformers phi": 1e-10,
    "transformers gpt neox": 1e-10, "transformers vit": 1e-10, "transformers llama": 1e-5,
    "transformers mistral": 1e-5, "transformers gemma": 1e-5,
}  # fmt: skip
REFUSED = {
    "transformers bert": "norms behind the blocks",
    "transformers albert": "norms behind the blocks",
    "transformers t5, encoder": "the model returns these channels",
}


def cases(names):
    return parameters([case for case in language.CASES if case.name in names])


@pytest.mark.parametrize("case", cases(EQUAL))
def test_rotated_library_networks_equal_themselves(case):
    model = copy.deepcopy(made(case)).double()
    args, kwargs = fed(case, 2, case.sizes[0])
    example = kwargs or (args[0] if len(args) == 1 else args)
    rotated = transforms.rotate(model, example)
    args, kwargs = fed(case, 3, case.sizes[-1])
    given = examples.given(model, kwargs or (args[0] if len(args) == 1 else args))
    found = parity.error(parity.outputs(model, given), parity.outputs(rotated, given))
    assert found <= EQUAL[case.name]
    weights = [dict(m.named_parameters(remove_duplicate=False)) for m in (model, rotated)]
    moved = [name for name, x in weights[0].items() if not (x == weights[1].get(name, x + 1)).all()]
    assert len(moved) >= 0.5 * len(weights[0])


@pytest.mark.parametrize("case", cases(REFUSED))
def test_library_networks_that_cannot_be_rotated_are_refused(case):
    args, kwargs = fed(case, 2, case.sizes[0])
    example = kwargs or (args[0] if len(args) == 1 else args)
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=REFUSED[case.name]):
        transforms.rotate(made(case), example)
