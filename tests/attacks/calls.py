"""Public calls and what can be put into their arguments.

A case is a call with ``value`` in it and a strategy of ``(expression, refuse)``: ``refuse`` is
True where the argument has no meaning, False where it is sound, None where either may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

MOST = 2**63

NOTHING = (
    "None",
    "object()",
    "[]",
    "{}",
    "()",
    "b'5'",
    "lambda: 5",
    "type",
    "float('nan')",
    "1j",
    "'5'",
    "''",
    "'\\x00'",
    "'\\x1b]0;x\\x07'",
    "True",
    "nan",
    "inf",
    "-inf",
    "1.5",
    "1e30",
    "1e400",
    "torch.tensor([1, 2])",
    "torch.zeros(2, device='meta')",
    "np.zeros(3)",
    "np.float32(2)",
    "[3]",
    "(1, 2)",
    "{'a': 1}",
    "range(3)",
    "Path('x')",
)
"""Things that are no whole number."""

_any = st.sampled_from(NOTHING)


def some(*good: str) -> st.SearchStrategy:
    return st.sampled_from([(expression, False) for expression in good])


def bad(*expressions: str) -> st.SearchStrategy:
    return st.sampled_from([(expression, True) for expression in expressions])


def either(*expressions: str) -> st.SearchStrategy:
    return st.sampled_from([(expression, None) for expression in expressions])


def anything_but(*sound: str) -> st.SearchStrategy:
    return _any.filter(lambda e: e not in sound).map(lambda e: (e, True))


def whole(low: int, high: int, *sound: str) -> st.SearchStrategy:
    numbers = st.integers(-(2**70), 2**70) | st.integers(-3, 40)
    numbers |= st.sampled_from([low - 1, low, low + 1, high, high + 1, 2**31, 2**63, 2**64, 10**30])
    checked = numbers.map(lambda n: (str(n), not low <= n <= high))
    return checked | some(*(f"np.int64({n})" for n in (low, low + 1))) | anything_but(*sound)


def number(low: float, high: float, *sound: str) -> st.SearchStrategy:
    numbers = st.floats() | st.integers(-(2**70), 2**70) | st.sampled_from([low, high, -0.0, 1e308])
    checked = numbers.map(
        lambda x: (f"float('{x}')" if isinstance(x, float) else str(x), not low <= x <= high)
    )
    return checked | anything_but("True", "1.5", "np.float32(2)", "1e30", "'5'", *sound)


TEXTS = st.text(max_size=12).map(repr)

IMAGES = (
    some("images", "images.numpy()", "images.double()", "images[:1]")
    # One image without a batch is computed as torch computes it; a method that wants many
    # images may refuse it.
    | either("images[0]")
    | bad(
        "images.to(torch.complex64)",
        "images.to_sparse()",
        "images.to('meta')",
        "torch.zeros(0, 12)",
        "torch.zeros(8, 0)",
        "torch.zeros(8, 13)",
        "images * nan",
        "images * inf",
        "torch.zeros(())",
        "np.array(['a'] * 12)",
        "[['a'] * 12]",
        "[[1, 2], [3]]",
        "torch.quantize_per_tensor(images, 0.1, 0, torch.qint8)",
        "object()",
        "'images'",
        "[[1j] * 12]",
        "np.zeros((8, 12), complex)",
        "np.zeros((8, 12), object)",
        "images.to_sparse_csr()",
        "torch.full((8, 12), 1e300, dtype=torch.float64)",
        "np.zeros((8, 12), 'M8[s]')",
        "torch.nested.nested_tensor([images[0], images[1]])",
        "{'x': images}",
    )
    | anything_but()
)

PATHS = bad(
    "None",
    "5",
    "1.5",
    "b'x.h5'",
    "[]",
    "''",
    "'a\\x00b'",
    "object()",
    "True",
    "place",
    "'no/such/folder/x.h5'",
    "'x' * 300 + '.h5'",
    "'/dev/null'",
    "'.'",
)

WHERE = some("None", "{'0': 'digital'}", "['0']", "('2',)") | bad(
    "[3]",
    "'0'",
    "5",
    "{'0': 3}",
    "{0: 'analog'}",
    "{'0': 'optical'}",
    "['nothing']",
    "b'0'",
    "[None]",
    "object()",
    "1.5",
    "{'*': 'digital'}",
    "True",
    "nan",
)

MODELS = some("model", "lambda: model") | bad(
    "None",
    "5",
    "'resnet32'",
    "object()",
    "complex_model()",
    "nn.Linear(12, 4, device='meta')",
    "nn.LazyLinear(3)",
    "lambda: 5",
    "torch.zeros(3)",
    "lambda x: x",
    "type",
    "[model]",
    "nn.ReLU()",
)


# What has no place on a chip is refused by from_model, and listed by explain.
LISTED = ("nn.ReLU()", "complex_model()", "nn.Linear(12, 4, device='meta')", "nn.LazyLinear(3)")
EXPLAINED = MODELS.filter(lambda v: v[0] not in LISTED) | either(*LISTED)


@dataclass(frozen=True)
class Case:
    call: str
    values: Any
    method: str = ""  # of Chip, for the test that none is left out


def chip(method: str, call: str, values: Any) -> Case:
    return Case(call, values, method)


CASES = (
    chip("from_model", "aimc_sim.Chip.from_model(value, small)", MODELS),
    chip(
        "from_model",
        "aimc_sim.Chip.from_model(model, value)",
        some("None", "small")
        | anything_but("None")
        | bad("'hermes'", "presets.hermes", "ChipSpec"),
    ),
    chip("from_model", "aimc_sim.Chip.from_model(model, small, where=value)", WHERE),
    chip("explain", "aimc_sim.Chip.explain(value, small)", EXPLAINED),
    chip("explain", "aimc_sim.Chip.explain(model, value)", some("None", "small") | bad("5", "'x'")),
    chip(
        "explain",
        "aimc_sim.Chip.explain(model, small, where=value)",
        WHERE.filter(lambda v: "*" not in v[0]) | either("{'*': 'digital'}"),
    ),
    chip(
        "calibrate",
        "fresh().calibrate(value)",
        IMAGES.filter(lambda v: v[0] != "images.tolist()")
        | bad("[]", "iter(())", "5")
        | either("[images[0]]")
        | some("[images]", "[(images, 1)]"),
    ),
    chip("program", "fresh().program(value)", whole(0, MOST - 1)),
    chip(
        "at",
        "fresh().at(value)",
        number(0, 3000 * 365 * 86400.0, "'5'")
        | bad(
            "'1 parsec'",
            "'-1 s'",
            "'1e400 s'",
            "'1' * 5000",
            "'9' * 400 + ' s'",
            "'1e99999999999 ms'",
        )
        | some("'1 day'", "'250 ns'")
        | TEXTS.map(lambda t: (t, None)),
    ),
    chip("refresh", "fresh().refresh()", some("None")),
    chip(
        "compensate",
        "fresh().compensate(value)",
        some("'gdc'", "'none'", "'column'") | anything_but() | bad("'GDC'", "'gcd'", "['gdc']"),
    ),
    chip(
        "adapt_batch_norm",
        "fresh().adapt_batch_norm(value)",
        IMAGES.filter(lambda v: v[0] not in ("None", "images[:1]", "images.tolist()")),
    ),
    chip(
        "to",
        "fresh().to(value)(images)",
        some("'cpu'", "torch.device('cpu')")
        | anything_but()
        | bad("'meta'", "'tpu'", "'cuda:99'", "'cpu:7x'", "-1")
        | either("'cuda'", "0", "'xla'", "1"),
    ),
    chip("__call__", "fresh()(value)", IMAGES),
    chip("__call__", "fresh()(images, first_image=value)", whole(0, 2**62 - 8, "None")),
    chip("__call__", "fresh()(images, chunk=value)", whole(1, 2**20, "None")),
    chip("__call__", "fresh()(*value)", bad("()", "(images, images)", "(None,)")),
    chip("stream", "lstm.stream(value)", whole(0, 2**62 - 1, "None")),
    chip("stream", "fresh().stream()", bad("None")),
    chip(
        "stream",
        "lstm.stream()(value)",
        some("torch.zeros(2, 3, 5)")
        | bad("torch.zeros(2, 3)", "5", "None", "torch.zeros(2, 3, 6)"),
    ),
    chip(
        "conductances",
        "fresh().conductances(value)",
        some("0") | anything_but() | bad("-1", "99", "2**70"),
    ),
    chip(
        "effective_weights",
        "fresh().effective_weights(value)",
        some("'0'", "'2'") | anything_but() | bad("'nothing'", "0", "'1'"),
    ),
    chip("report", "str(fresh().report())", some("None")),
    chip("spiking_report", "fresh().spiking_report()", bad("None")),  # nothing spikes
    chip("save", "fresh().save(value)", PATHS | some("place / 'a.h5'", "str(place / 'b.h5')")),
    chip("load", "aimc_sim.Chip.load(value)", PATHS | bad("place / 'missing.h5'")),
    Case("probe.layer_outputs(fresh(), value)", IMAGES),
    Case(
        "small.with_(value)",
        bad(
            "{'core': 5}",
            "{'core.adc.bits': 1.5}",
            "{'': 1}",
            "{'.': 1}",
            "{'core..adc': 1}",
            "{'nothing': 1}",
            "{'core.rows': 10**30}",
            "{'core.rows': True}",
            "{'chips': 10**6}",
            "{'fabric.rows': 100000}",
            "{'core.pcm.programming.scale': 1e30}",
            "{'core.pcm.g_max_siemens': 1e-300}",
            "{'core.pcm.g_max_siemens': 1e300}",
            "{'core.wires': {'row_ohm': 1e300}}",
            "{'mapping.replicate': [['*', 100]]}",
            "{'core.ldpu.output_bits': 10**9}",
            "{'core.adc.bits': nan}",
            "{'core.read.mvm_seconds': inf}",
            "{'layers': 5}",
            "{'layers': [[1, 2]]}",
            "{'mapping.replicate': 5}",
            "5",
            "{5: 1}",
            "'core'",
            "{'core.adc.full_scale_amperes': 1e-300}",
            "{'name': 5}",
            "{'core.pcm.t0_seconds': 0}",
        ),
    ),
    Case("small.with_({'core.rows': value})", whole(1, 4096)),
    Case(
        "small.with_({'core.pcm.programming.scale': value})",
        number(0, 1e6).filter(lambda v: v[0] not in ("'5'", "True", "np.float32(2)")),
    ),
    Case(
        "presets.by_name(value)",
        some("'ideal'", "'hermes-tdp'") | anything_but() | bad("'hermes '"),
    ),
    Case(
        "presets.pcm_ideal(value)",
        number(1e-15, 1.0).filter(
            lambda v: v[0] not in ("float('1e-15')", "'5'", "True", "np.float32(2)", "1.5", "1e30")
        )
        | bad("'5'", "0.0"),
    ),
    Case("presets.replay(value)", PATHS),
    Case("units.seconds(value)", number(0, 3000 * 365 * 86400.0, "'5'")),
    Case("zoo.resnet32(value)", whole(1, 10**6).filter(lambda v: len(v[0]) < 5 or v[1])),
    Case("zoo.resnet32(10, value)", PATHS.filter(lambda v: v[0] != "None")),
    Case("zoo.char_units(value)", PATHS.filter(lambda v: v[0] != "None")),
    Case("zoo.digits(value)", some("'test'") | anything_but() | bad("'Test'")),
    Case("zoo.cifar10(value)", PATHS),
    Case(
        "training.prepare(value, small)",
        MODELS.filter(lambda v: "lambda" not in v[0] and "ReLU" not in v[0]),
    ),
    Case("training.prepare(model, value)", some("small") | anything_but()),
    Case("training.prepare(model, small, seed=value)", whole(0, MOST - 1)),
    Case(
        "training.prepare(model, small, where=value)",
        WHERE.filter(lambda v: v[0] not in ("['0']", "('2',)")),
    ),
    Case("training.prepare(model, small, options=value)", some("None") | anything_but("None")),
    Case(
        "transforms.fold_norms(value, images)",
        some("residual") | bad("None", "5", "object()", "'x'", "nn.ReLU()", "lambda: model"),
    ),
    Case(
        "transforms.rotate(residual, images, value)",
        some("'orthogonal'", "torch.eye(8)") | bad("torch.eye(8) * nan") | anything_but(),
    ),
    Case(
        "transforms.rotate(residual, images, seed=value)",
        whole(0, MOST - 1).filter(lambda v: len(v[0]) < 4 or v[1]),
    ),
    Case("transforms.split_rows(residual, images, value)", bad("0", "8", "-1") | anything_but()),
    Case(
        "transforms.low_rank_attention(residual, images, budget=value)",
        bad("2.0", "-1e-9") | anything_but("None"),
    ),
    Case(
        "transforms.clip_conductances(torch.full((3,), 5e-6), 1e-7, 1e-5, alpha=value)",
        number(1.0, 1e300, "1.5", "1e30", "np.float32(2)"),
    ),
    Case(
        "spiking.SpikingAttention(value, 2)",
        whole(2, 998).filter(lambda v: v[1] or int(v[0]) % 2 == 0 if v[0].isdigit() else v[1]),
    ),
    Case("spiking.SpikingAttention(6, 1, value)", whole(1, 2**31)),
    Case(
        "spiking.SpikingAttention(6, scale=value)",
        number(-1.7976931348623157e308, 1.7976931348623157e308),
    ),
    Case(
        "transforms.tensor_train(nn.Conv2d(4, 4, 3, 1, 1), value)",
        whole(1, 2**31)
        | some("0.5", "1.0", "{'*': 2}")
        | bad("{'a': 2}", "{'*': 0}", "0.0", "2.5", "{5: 2}"),
    ),
    Case("transforms.tensor_train(nn.Conv2d(4, 4, 3, 1, 1), error=value)", number(0, 1)),
    Case("transforms.TensorTrainConv2d(4, 4, value)", whole(1, 2**31)),
    Case(
        "schema.make_study(value)",
        some("{}")
        | bad(
            "{'times': None}",
            "{'times': [10**400]}",
            "{'times': []}",
            "{'first_seed': 10**30}",
            "{'programmings': 0}",
            "{'programmings': 10**9}",
            "{'programmings': None}",
            "{'name': 5}",
            "{'presets': [5]}",
            "{'nothing': 1}",
            "{'grid': {'core.adc.bits': []}}",
            "{'data': 5}",
            "{'times': {'a': 1}}",
            "{'times': [[1]]}",
            "{'times': nan}",
            "{'probe_images': -1}",
            "{'seconds_per_trial': 1e300}",
            "{'settings': 5}",
            "{'settings': [{}]}",
            "{'name': 'x' * 10**6}",
            "{'compensations': 'gcd'}",
            "{'network': None}",
            "{5: 6}",
            "[]",
            "{'data': {'images': 0}}",
        ),
    ),
    Case(
        "search_schema.make_search(value)",
        bad(
            "{}",
            "{'knobs': {}}",
            "{'knobs': {'core.rows': {'low': -10**400, 'high': 1}}}",
            "{'knobs': {'core.rows': [1]}, 'time': None}",
            "{'knobs': {'core.rows': [1]}, 'trials': 10**9}",
            "{'knobs': {'core.rows': [1]}, 'first_seed': 10**30}",
            "{'knobs': 5}",
            "{'knobs': {'a': None}}",
        ),
    ),
    Case("schema.load_study(value)", PATHS),
    Case("results.load(value)", PATHS | bad("[]", "[5]", "[None]", "{}")),
    Case("results.read_table(value)", PATHS),
    Case("results.export(value)", PATHS),
)
