"""Specifications: validation, copies, identity."""

import pytest

from aimc_sim import presets
from aimc_sim.spec import CcoAdcSpec, ChipSpec, WireSpec


def test_with_returns_a_validated_copy():
    spec = presets.hermes()
    nine = spec.with_({"core.adc.bits": 9})
    assert (spec.core.adc.bits, nine.core.adc.bits) == (11, 9)
    assert nine.id() != spec.id()
    assert nine.with_({"core.adc.bits": 11}).id() == spec.id()
    assert spec.with_(name="mine").id() == spec.id()  # a name changes no answer


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"core.adc.bit": 9}, KeyError, "'core.adc' has no field 'bit'; did you mean 'bits'"),
        ({"cor.adc.bits": 9}, KeyError, "no field 'cor'; did you mean 'core'"),
        ({"core.adc.bits": 1}, ValueError, "core.adc.bits = 1 is not allowed"),
        ({"core.adc.bits": "8"}, ValueError, "core.adc.bits = '8' is not allowed"),
        ({"core.adc.bits": True}, ValueError, "core.adc.bits = True is not allowed"),
        ({"core.adc.full_scale_amperes": None}, ValueError, "needs full_scale_amperes"),
        ({"core.pcm.g_max_siemens": -1.0}, ValueError, "greater than 0"),
        ({"core.pcm.g_max_siemens": float("nan")}, ValueError, "finite"),
        ({"core.read.polarity": {"mean_fraction": 0.1}}, ValueError, "4-phase"),
        ({"core.adc.bits.x": 1}, KeyError, "'core.adc.bits' is 11 and has no field 'x'"),
        ({"calibration.percentile": 0.9}, ValueError, "greater than 50"),
    ],
)
def test_bad_changes(change, kind, message):
    with pytest.raises(kind, match=message):
        presets.hermes().with_(change)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_survive_json(name):
    spec = presets.by_name(name)
    back = ChipSpec.model_validate_json(spec.model_dump_json())
    assert back == spec
    assert back.id() == spec.id()


def test_presets_differ():
    names = [n for n in presets.PRESETS if n != "hermes"]
    assert len({presets.by_name(n).id() for n in names}) == len(names)
    with pytest.raises(KeyError, match="did you mean 'hermes-tdp'"):
        presets.by_name("hermes-tpd")
    with pytest.raises(ValueError, match="'both' is unknown; there are: tdp, odp"):
        presets.hermes("both")
    with pytest.raises(ValueError, match=r"read = .2-phase. is unknown; did you mean .4-phase"):
        presets.hermes(read="2-phase")


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        presets.hermes().core.adc.bits = 3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"core.adc": CcoAdcSpec()},
        {"core.wires": WireSpec(row_ohm=1.0, col_ohm=1.0)},
        {"layers": {"conv*": {"core.ldpu.link_bits": 9}}},
        {"mapping.replicate": (("conv1", 2),)},
    ],
    ids=["plain", "oscillators", "wires", "layers", "patches"],
)
def test_json_gives_the_same_specification(changes):
    """Lists of JSON are tuples again, in every part, whatever its parts are validated by."""
    for preset in presets.PRESETS:
        spec = presets.by_name(preset).with_(changes)
        assert ChipSpec.model_validate_json(spec.model_dump_json()) == spec
