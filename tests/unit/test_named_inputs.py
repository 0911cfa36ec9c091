"""Arguments by name and in dictionaries, in any order: equal to torch, or refused."""

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.runtime import probe

X, Y = (torch.randn(5, 6, generator=torch.Generator().manual_seed(i)) for i in (1, 2))


class Names(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, ids, mask):
        return self.a(ids) - 2 * self.b(mask)


class Dictionary(Names):
    def forward(self, batch):
        return super().forward(batch["ids"], batch["mask"])


class Places(Names):
    def forward(self, *tensors):
        return super().forward(*tensors)


class Options(Names):
    """As networks of libraries are written."""

    def forward(self, ids=None, mask=None, scale=None, **more):
        return super().forward(ids, mask)


RECORDED = {
    "any number": (Places, (X, Y)),
    "options": (Options, {"ids": X, "mask": Y, "scale": None}),
    "names": (Names, {"ids": X, "mask": Y}),
    "places": (Names, (X, Y)),
    "dictionary": (Dictionary, ({"ids": X, "mask": Y},)),
}
EQUAL = {
    "names": [
        lambda f: f(X, Y), lambda f: f(ids=X, mask=Y), lambda f: f(mask=Y, ids=X),
        lambda f: f(X, mask=Y),
    ],
    "dictionary": [
        lambda f: f({"ids": X, "mask": Y}), lambda f: f({"mask": Y, "ids": X}),
        lambda f: f(batch={"mask": Y, "ids": X}),
    ],
}  # fmt: skip
EQUAL |= {
    "places": EQUAL["names"], "any number": [lambda f: f(X, Y)],
    "options": [
        lambda f: f(ids=X, mask=Y, scale=None), lambda f: f(mask=Y, scale=None, ids=X),
        lambda f: f(X, Y),
    ],
}  # fmt: skip


def chips(kind, tmp_path):
    """The model, its chip, and the chip from a file, which has no model."""
    torch.manual_seed(0)
    make, example = RECORDED[kind]
    model = make().eval()
    chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=example).program(0)
    chip.save(tmp_path / "chip.h5")
    return model, chip, aimc_sim.Chip.load(tmp_path / "chip.h5")


@pytest.mark.parametrize("kind", RECORDED)
def test_every_way_to_give_them_equals_torch(kind, tmp_path):
    model, *both = chips(kind, tmp_path)
    for chip in both:
        for call in EQUAL[kind]:
            with torch.no_grad():
                wanted = call(model)
            torch.testing.assert_close(call(chip), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["names", "places", "dictionary"])
def test_a_batch_by_name_calibrates_what_it_names(kind, tmp_path):
    for chip in chips(kind, tmp_path)[1:]:
        for batches in ({"mask": 3 * Y, "ids": X}, [{"mask": 3 * Y, "ids": X}]):
            found = list(chip.calibrate(batches).ranges.values.values())[:2]
            assert found == [float(X.abs().max()), float(3 * Y.abs().max())]


@pytest.mark.parametrize(
    ("kind", "call", "words"),
    [
        ("names", lambda f: f(ids=X, foo=Y), "unexpected keyword argument 'foo'.*ids, mask"),
        ("places", lambda f: f({"ids": X, "mask": Y}), r"a dictionary of \['ids', 'mask'\]"),
        ("dictionary", lambda f: f(ids=X, mask=Y), "unexpected keyword argument 'ids'.*batch"),
        ("dictionary", lambda f: f({"ids": X, "foo": Y}), "give the same"),
    ],
)
def test_what_torch_would_not_take_is_refused(kind, call, words, tmp_path):
    model, chip, loaded = chips(kind, tmp_path)
    with pytest.raises((TypeError, KeyError)):
        call(model)
    with pytest.raises(ValueError, match=words):
        call(chip)
    with pytest.raises(ValueError, match=r"no input for|got 1"):  # it knows less
        call(loaded)


def test_one_input_takes_no_dictionary():
    chip = aimc_sim.Chip.from_model(nn.Sequential(nn.Linear(6, 4)), presets.ideal()).program(0)
    looks = (
        lambda: chip({"x": X}), lambda: chip.calibrate({"x": X}),
        lambda: probe.layer_outputs(chip, {"x": X}),
    )  # fmt: skip
    for call in looks:
        with pytest.raises(ValueError, match=r"a dictionary of \['x'\]"):
            call()


class Doubles(Names):
    def forward(self, ids, mask, double=False, kind="plain"):
        y = super().forward(ids, mask)
        return y if not double else 2 * y if kind == "plain" else -y


def test_options_are_those_of_the_record_or_refused(tmp_path):
    """An option that the record does not hold is another network."""
    model = Doubles().eval()
    for given, others in (
        ({}, [{"double": True}, {"kind": "other"}, {"double": 1}]),
        ({"double": True}, [{}, {"double": False}, {"double": True, "kind": "other"}]),
    ):
        example = {"ids": X, "mask": Y, **given}
        chip = aimc_sim.Chip.from_model(model, presets.ideal(), example=example).program(0)
        with torch.no_grad():
            torch.testing.assert_close(chip(**example), model(**example), rtol=1e-5, atol=1e-5)
        for other in others:
            with pytest.raises(ValueError, match="where the network was recorded with"):
                chip(X, Y, **other)
        chip.calibrate({"ids": X, "mask": Y})  # data, to which the record's options belong
    chip.save(tmp_path / "chip.h5")
    loaded = aimc_sim.Chip.load(tmp_path / "chip.h5")
    with pytest.raises(ValueError, match="does not know with which options"):
        loaded(X, mask=Y, double=True)
