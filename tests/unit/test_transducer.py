"""Transducers: the loss against enumerated alignments, greedy sequences, parts on chips."""

import itertools

import pytest
import torch
from torch import nn

import aimc_sim
from aimc_sim import presets
from aimc_sim.spiking import SNU, SoftSNU, Transducer, transducer_loss
from aimc_sim.spiking.alignments import BLANK
from aimc_sim.spiking.decoding import greedy
from aimc_sim.spiking.transducer import Joint, OneStep, Outputs


def enumerated(scores, symbols, frames, lengths):
    """Return the losses by adding the probabilities of all alignments, one at a time."""
    losses = []
    for own, given, steps, count in zip(scores, symbols, frames.tolist(), lengths.tolist(),
                                        strict=True):  # fmt: skip
        logs = own.log_softmax(-1)
        paths = []
        # An alignment: before which of the blanks of all frames but the last every symbol stands.
        for at in itertools.combinations_with_replacement(range(steps), count):
            total, u = 0.0, 0
            for t in range(steps):
                while u < count and at[u] == t:
                    total = total + logs[t, u, given[u]]
                    u += 1
                total = total + logs[t, u, BLANK]
            paths.append(total)
        losses.append(-torch.stack(paths).logsumexp(0))
    return torch.stack(losses)


def sequences(key, batch=5, steps=5, longest=4, kinds=4, scale=2.0):
    generator = torch.Generator().manual_seed(key.generator().integers(2**31).item())
    scores = scale * torch.randn(batch, steps, longest + 1, kinds, generator=generator).double()
    symbols = torch.randint(1, kinds, (batch, longest), generator=generator)
    frames = torch.tensor([steps, 1, 3, 2, steps])
    lengths = torch.tensor([longest, 2, 0, longest, 1])
    return scores, symbols, frames, lengths


@pytest.mark.parametrize("scale", [0.0, 2.0, 100.0])
def test_loss_is_the_sum_over_all_alignments(key, scale):
    """float64 to 1e-10 of the loss; the largest of these losses is above 1,000."""
    given = sequences(key, scale=scale)
    found, wanted = transducer_loss(*given), enumerated(*given)
    assert found.dtype == torch.float64
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-10)


def test_loss_by_hand():
    """Equal scores of four kinds, 3 frames, 2 symbols: 6 alignments of 5 steps."""
    found = transducer_loss(torch.zeros(1, 3, 3, 4), torch.tensor([[3, 1]]), torch.tensor([3]),
                            torch.tensor([2]))  # fmt: skip
    assert found.item() == pytest.approx(5 * torch.tensor(4.0).log().item() - 1.791759469228055)


def test_gradient_is_that_of_the_enumeration(key):
    scores, *rest = sequences(key)
    gradients = []
    for loss in (transducer_loss, enumerated):
        own = scores.clone().requires_grad_()
        loss(own, *rest).sum().backward()
        gradients.append(own.grad)
    assert gradients[1].abs().max() > 0.1
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)


def test_padding_has_no_effect(key):
    scores, symbols, frames, lengths = sequences(key)
    wanted = transducer_loss(scores, symbols, frames, lengths)
    changed = scores.clone()
    for one, (steps, count) in enumerate(zip(frames, lengths, strict=True)):
        changed[one, steps:] = 1e3
        changed[one, :, count + 1 :] = -1e3
        symbols[one, count:] = -1
    assert torch.equal(transducer_loss(changed, symbols, frames, lengths), wanted)


def test_sequences_that_do_not_belong_together_are_refused(key):
    scores, symbols, frames, lengths = sequences(key)
    with pytest.raises(ValueError, match=r"wanted \(B, T, U \+ 1, 1 \+ S\) and \(B, U\)"):
        transducer_loss(scores[:, :, :-1], symbols, frames, lengths)
    masked = scores.clone()
    masked[0, 0, 0, 0] = -torch.inf  # sums of logarithms would be NaN
    with pytest.raises(ValueError, match="scores that are not finite"):
        transducer_loss(masked, symbols, frames, lengths)
    with pytest.raises(ValueError, match=r"frames = .* from 1 to 5"):
        transducer_loss(scores, symbols, frames * 0, lengths)
    with pytest.raises(ValueError, match=r"lengths = .* from 0 to 4"):
        transducer_loss(scores, symbols, frames, lengths + 1)
    with pytest.raises(ValueError, match="symbols from 0 to 3: wanted 1 to 3"):
        transducer_loss(scores, symbols * 0 + torch.tensor([0, 3, 1, 1]), frames, lengths)


FEATURES = 2 * torch.randn(9, 7, 6, generator=torch.Generator().manual_seed(5))


def made(kind, width=12, symbols=4, **options):
    """Return a transducer that finds symbols and blanks in the features."""
    torch.manual_seed(2)
    layers = [kind(n, width, **options) for n in (6, symbols)]
    net = Transducer(*layers, Joint(width, width, 10, symbols), symbols).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(2.0)
        first = net(FEATURES, torch.zeros(7, 0, dtype=torch.long))
        net.joint.out.bias -= first.mean((0, 1, 2))
        net.joint.out.bias[BLANK] += first.std()
    return net


KINDS = {
    "SNU": (SNU, {"recurrent": True}),
    "sSNU-o": (SoftSNU, {"recurrent": True, "axo_axonic": True}),
    "LSTM": (nn.LSTM, {}),
}


def one_by_one(net, features, most):
    """Return one greedy sequence by the lattice of scores, without states."""
    found, t, here = [], 0, 0
    while t < len(features):
        read = torch.tensor([found], dtype=torch.long).reshape(1, -1)
        scores = net(features[:, None], read)[0, t, len(found)]
        best = int(scores.argmax())
        if best == BLANK or here == most:
            t, here = t + 1, 0
        else:
            found.append(best)
            here += 1
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_sequences(kind):
    net = made(KINDS[kind][0], **KINDS[kind][1])
    frames = torch.tensor([9, 5, 9, 1, 7, 9, 8])
    with torch.no_grad():
        wanted = [one_by_one(net, FEATURES[:n, i], 2) for i, n in enumerate(frames)]
    assert 3 < sum(map(len, wanted)) < 2 * int(frames.sum())
    assert greedy(net, FEATURES, frames, 4, most=2) == wanted


class Chips:
    """The parts of a transducer, a chip each."""

    def __init__(self, net, spec, features):
        with torch.no_grad():
            last = torch.zeros(features.shape[1], net.symbols)
            predicted, states = net.predict(last, None)
            encoded = net.encode(features)
        self.zeros = [0 * one for one in states]
        self.encode = aimc_sim.Chip.from_model(Outputs(net.encoder), spec).program(0)
        self.step = aimc_sim.Chip.from_model(
            OneStep(net.prediction), spec, example=(last, *self.zeros)
        ).program(0)
        self.join = aimc_sim.Chip.from_model(
            net.joint, spec, example=(encoded[0], predicted)
        ).program(0)

    def predict(self, last, states):
        outputs, *after = self.step(last, *(states or self.zeros))
        return outputs, tuple(after)


@pytest.mark.parametrize("kind", KINDS)
def test_three_ideal_chips_give_the_sequences_of_torch(kind):
    net = made(KINDS[kind][0], **KINDS[kind][1])
    frames = torch.full((7,), 9)
    chips = Chips(net, presets.ideal(), FEATURES)
    assert greedy(chips, FEATURES, frames, 4) == greedy(net, FEATURES, frames, 4)
