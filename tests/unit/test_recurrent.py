"""Recurrent layers on the chip: streaming, chunks, the noise of time steps, bad input."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from checks import SIGMAS
from interpreter import settle
from sequences import FromState, alike, chip_of, leaves, numbers
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import aimc_sim
from aimc_sim import presets

pytestmark = [
    pytest.mark.filterwarnings("ignore:layer"),  # few sequences: some outputs clip
    pytest.mark.filterwarnings("ignore:LSTM with projections"),  # of torch itself
]


class Words(nn.Module):
    """Tokens in, one distribution per time step out."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.lstm, self.out = nn.LSTM(6, 9, 2, batch_first=batch_first), nn.Linear(9, 5)

    def forward(self, tokens):
        return self.out(self.lstm(self.embedding(tokens))[0]).softmax(-1)


def tokens(*shape):
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(8))


STREAMED = {  # model, sequences, dimension of time
    "lstm": (lambda: nn.LSTM(4, 7, batch_first=True), numbers(5, 9, 4), 1),
    "two layers": (lambda: nn.LSTM(4, 7, 2, batch_first=True), numbers(5, 9, 4), 1),
    "projection": (lambda: nn.LSTM(4, 7, proj_size=3, batch_first=True), numbers(5, 9, 4), 1),
    "gru": (lambda: nn.GRU(4, 7, 2), numbers(9, 5, 4), 0),
    "rnn": (lambda: nn.RNN(4, 7, nonlinearity="relu"), numbers(9, 5, 4), 0),
    "words": (Words, tokens(5, 9), 1),
    "words, time first": (lambda: Words(False), tokens(9, 5), 0),
    "wider than a core": (lambda: nn.LSTM(270, 66, batch_first=True), numbers(3, 4, 270), 1),
}


@pytest.fixture(scope="module")
def streamed():
    """Chips by name, made when first asked for."""
    made = {}

    def get(case):
        if case not in made:
            model, x, time = STREAMED[case]
            made[case] = chip_of(model, x)[0], x, time
        return made[case]

    return get


# ------------------------------------------------------------------------------ streaming


@pytest.mark.parametrize("case", STREAMED)
def test_pieces_give_the_whole_bit_by_bit(case, streamed):
    chip, x, time = streamed(case)
    whole = chip(x, first_image=6)
    outputs = whole[0] if isinstance(whole, tuple) else whole
    for lengths in ([1] * x.shape[time], [2, 5], [x.shape[time]]):
        lengths = [*lengths, x.shape[time] - sum(lengths)] if sum(lengths) < x.shape[time] else (
            lengths if sum(lengths) == x.shape[time] else [x.shape[time]])  # fmt: skip
        stream = chip.stream(first_image=6)
        made = [stream(piece) for piece in x.split(lengths, time)]
        parts = [y[0] if isinstance(y, tuple) else y for y in made]
        assert torch.equal(torch.cat(parts, time), outputs)
        assert stream.steps_seen == x.shape[time]
        if isinstance(whole, tuple):
            assert alike(made[-1][1], whole[1])  # the state at the end


def test_stream_begins_anew_and_numbers_images(streamed):
    chip, x, _ = streamed("lstm")
    one, two = chip.stream(6), chip.stream(7)
    first = one(x)
    assert alike(first, chip.stream(6)(x))
    assert not alike(first, two(x))
    assert not alike(first, one(x))  # it goes on: other state, other time steps
    before = chip.images_seen
    assert chip.stream().first_image == before


def test_state_of_a_stream(streamed):
    chip, x, _ = streamed("words")
    stream = chip.stream()
    assert stream.state() == {}
    stream(x)
    state = stream.state()
    assert set(state) == {"lstm.l0", "lstm.l1"}
    for hidden, cell in state.values():
        assert hidden.shape == cell.shape == (5, 9)
        assert torch.equal(hidden, hidden.round())
        assert hidden.abs().max() <= 127
        assert torch.equal(cell, cell.half().float())  # it rests in half precision


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 7, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0].mean(1)


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(4, 4, 3, padding=1), nn.LSTM(4, 7, batch_first=True)

    def forward(self, x):
        return self.lstm(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]


class Started(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 7, batch_first=True)

    def forward(self, x):
        return self.gru(x, torch.ones(1, x.size(0), 7))[0]


UNSTREAMED = {
    "both directions": (lambda: nn.LSTM(4, 7, bidirectional=True, batch_first=True),
                        r"'LSTM.l0_reverse' runs backwards"),
    "mean over time": (Mean, r"operation 'mean' \(mean\) may need several time steps"),
    "convolution": (Convolved, "operation 'transpose' .* may need several|'conv' .*several"),
    "given state": (Started, "'gru.l0' runs backwards, or is given its state"),
    "no state": (lambda: nn.Linear(4, 3), "no recurrent layer, so there is no state"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSTREAMED)
def test_not_streamed(case):
    model, sentence = UNSTREAMED[case]
    chip = aimc_sim.Chip.from_model(model(), presets.ideal()).program(0)
    with pytest.raises(ValueError, match=sentence):
        chip.stream()


def test_bad_pieces(streamed):
    chip, x, _ = streamed("lstm")
    stream = chip.stream()
    stream(x)
    with pytest.raises(ValueError, match="began with 5 sequences and now gets 3; open another"):
        stream(x[:3])
    with pytest.raises(ValueError, match="takes sequences of equal length; give tensors"):
        stream(pack_padded_sequence(x, torch.tensor([9, 8, 7, 7, 1]), batch_first=True))


# ------------------------------------------------------------------- chunks, threads, files


@pytest.mark.parametrize("case", ["two layers", "projection", "gru", "words, time first"])
def test_chunks_and_threads_do_not_matter(case, streamed, two_threads):
    chip, x, _ = streamed(case)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results += [chip(x, first_image=2, chunk=chunk) for chunk in (None, 1, 2, 3)]
    assert all(alike(results[0], other) for other in results[1:])
    axis = chip.compiled.axis
    last = chip(x.narrow(axis, 3, 2), first_image=5)
    for whole, part in zip(leaves(results[0]), leaves(last), strict=True):
        at = axis if whole.shape[axis] == 5 else 1  # states count the batch second
        assert torch.equal(whole.narrow(at, 3, 2), part)


def test_many_sequences_in_chunks_of_any_size():
    """As many as make torch choose other products of matrices."""
    x = numbers(150, 3, 40)
    chip, _ = chip_of(lambda: nn.LSTM(40, 33, batch_first=True), x)
    whole = chip(x, first_image=0)
    for chunk in (150, 64, 17, 5):
        assert alike(whole, chip(x, first_image=0, chunk=chunk))


def test_saved_chip_goes_on(tmp_path, streamed):
    chip, x, _ = streamed("words")
    chip.save(tmp_path / "words.h5")
    back = aimc_sim.Chip.load(tmp_path / "words.h5")
    assert torch.equal(chip(x, first_image=1), back(x, first_image=1))
    parts = [back.stream(first_image=1)(x[:, :4])]
    assert torch.equal(parts[0], chip(x, first_image=1)[:, :4])


# ------------------------------------------------------------------- noise of the time steps


def test_noise_is_white_over_time():
    """One MVM per time step and image, all of the same input: n = 64 steps x 40 images.

    With n = 2560 draws per output a correlation of neighbouring steps above 5 / sqrt(n) = 0.10
    is noticed; sharing the noise of all steps would give 1.
    """
    spec = presets.hermes("odp").with_(
        {"core.adc.bits": None, "core.adc.full_scale_amperes": None, "core.ldpu.output_bits": None,
         "core.ldpu.link_bits": None, "core.dac.bits": None}
    )  # fmt: skip

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.front, self.rnn = nn.Linear(4, 6), nn.RNN(4, 3, batch_first=True)

        def forward(self, x):
            return self.front(x), self.rnn(x)[0]

    x = numbers(1, 1, 4).expand(40, 64, 4)
    torch.manual_seed(0)
    model = settle(Seen()).eval()
    chip = aimc_sim.Chip.from_model(model, spec).calibrate(x).program(0)
    seen = chip(x, first_image=0)[0].double().numpy()  # (40, 64, 6)
    # No two MVMs alike. Single numbers of 24 bits may be equal by chance (of 2,560, a pair or so
    # is to be expected); all six of an MVM are only if two MVMs share their draws.
    assert len(np.unique(seen.reshape(-1, 6), axis=0)) == 40 * 64
    noise = (seen - seen.mean((0, 1))) / seen.std((0, 1))
    n = 40 * 63
    bound = SIGMAS / np.sqrt(n)
    for lag in (1, 2, 7):
        r = (noise[:, lag:] * noise[:, :-lag]).mean((0, 1))
        assert np.abs(r).max() < bound * np.sqrt(64 / (64 - lag))
    between = np.corrcoef(noise.reshape(-1, 6).T) - np.eye(6)
    assert np.abs(between).max() < bound
    of_images = (noise[1:] * noise[:-1]).mean((0, 1))
    assert np.abs(of_images).max() < bound
    # The check has teeth: a fifth of the spread shared by neighbours is noticed.
    mixed = noise.copy()
    mixed[:, 1:] += 0.2 * noise[:, :-1]
    assert np.abs((mixed[:, 1:] * mixed[:, :-1]).mean((0, 1))).max() > bound


# ------------------------------------------------------------------------------- bad input


def test_bad_tokens_and_sequences(streamed):
    chip, x, _ = streamed("words")
    with pytest.raises(ValueError, match="knows the tokens 0 to 10, got 0 to 11; use the voc"):
        chip(torch.arange(12)[None])
    with pytest.raises(ValueError, match="knows the tokens 0 to 10, got -1 to 3"):
        chip(torch.tensor([[-1, 3]]))
    with pytest.raises(ValueError, match=r"'embedding' reads numbers of the type torch.float32"):
        chip(x.float())
    with pytest.raises(ValueError, match=r"reads numbers of the type torch\.bool"):
        chip(x > 3)
    with pytest.raises(ValueError, match=r"has 1 inputs \(input\), got 2; give one tensor"):
        chip(x, x)
    with pytest.raises(ValueError, match=r"shape \(0, 9\).*at least one image"):
        chip(x[:0])
    plain, x, _ = streamed("lstm")
    broken = x.clone()
    broken[2, 4, 1] = float("nan")
    with pytest.raises(ValueError, match="image 2 holds NaN or infinity"):
        plain(broken)
    with pytest.raises(ValueError, match=r"shape \(5, 9, 3\).*wants \(batch, 4\)"):
        plain(x[..., :3])
    gru, x, _ = streamed("gru")
    broken = x.clone()
    broken[4, 3] = float("inf")
    with pytest.raises(ValueError, match="image 3 holds NaN or infinity"):  # time comes first
        gru(broken)


def test_different_batches_of_two_inputs():
    example = numbers(3, 5, 4), numbers(3, 2, 7)
    chip = aimc_sim.Chip.from_model(FromState(nn.GRU), presets.ideal(), example=example).program(0)
    with pytest.raises(ValueError, match=r"'state' has the shape \(2, 2, 7\): 2 in the batch, wh"):
        chip(numbers(3, 5, 4), numbers(2, 2, 7))
    with pytest.raises(ValueError, match=r"has 2 inputs \(input, state\), got 1"):
        chip(numbers(3, 5, 4))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_bad_models(kind):
    with pytest.raises(aimc_sim.UnsupportedLayerError, match=r"float16.*model.float\(\)"):
        aimc_sim.Chip.from_model(kind(4, 3).half(), presets.ideal())
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="meta device and has no data"):
        aimc_sim.Chip.from_model(kind(4, 3, device="meta"), presets.ideal())
    with pytest.raises(aimc_sim.UnsupportedLayerError, match="bfloat16"):
        aimc_sim.Chip.from_model(nn.Sequential(nn.Embedding(3, 4).bfloat16(), nn.Linear(4, 2)))


def test_training_mode_gives_the_same_and_is_left_alone():
    torch.manual_seed(3)
    model = nn.LSTM(4, 6, 2, dropout=0.5, batch_first=True)
    x = numbers(3, 5, 4)
    before = copy.deepcopy(model.state_dict())
    model.eval()
    expected = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)(x)
    model.train()
    found = aimc_sim.Chip.from_model(model, presets.hermes("odp")).calibrate(x).program(0)(x)
    assert model.training
    assert alike(found, expected)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_what_one_layer_takes_for_time_and_another_for_the_batch_is_one_piece():
    """Nothing in it is an image of its own: a call is a whole, and equals torch."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.LSTM(4, 4), nn.GRU(4, 4, batch_first=True)

        def forward(self, x):
            return self.two(self.one(x)[0])[0]

    model = settle(Mixed()).eval()
    chip = aimc_sim.Chip.from_model(model, presets.ideal()).program(0)
    assert chip.compiled.axis is None
    for x in (numbers(5, 2, 4), numbers(3, 7, 4)):
        with torch.no_grad():
            torch.testing.assert_close(chip(x), model(x), rtol=1e-4, atol=1e-5)
