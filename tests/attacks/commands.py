"""Every option of every command, and what can be put into it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

TOY = """
import torch
from torch import nn

def tiny():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))

def picture():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))

def data():
    torch.manual_seed(2)
    x = torch.randn(24, 12)
    y = tiny()(x).argmax(1)
    return x[:16].numpy(), y[:16].numpy(), x[16:].numpy()

def leaves():
    raise SystemExit(0)

def bends():
    return 5

def breaks():
    raise RuntimeError("\\x1b]0;owned\\x07 [bold]")
"""

STUDY = """
name: toy
network: toy_attack:tiny
data: {name: "toy_attack:data", calibration: 8}
presets: hermes-odp
times: 0
compensations: none
programmings: 1
probe_images: 0
"""

SEARCH = """
network: toy_attack:tiny
data: {name: "toy_attack:data", calibration: 8}
knobs: {core.adc.bits: [6, 8]}
objectives: [cores]
programmings: 1
trials: 4
batch: 2
"""

LEAVES = "import sys; sys.exit(0)"
DEEP = "times: " + "[" * 3000 + "]" * 3000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)
FILES = {
    "toy_attack.py": TOY,
    "study.yaml": STUDY,
    "search.yaml": SEARCH,
    "leaves.py": LEAVES,
    "deep.yaml": DEEP,
    "bomb.yaml": BOMB,
    "plain.txt": "kept\n",
    "markup.yaml": STUDY.replace("name: toy\n", "name: '[/x] ADC [8]'\n", 1)
    + "settings: [{name: '[/x] ADC [8] \\x1b]0;x', changes: {core.adc.bits: 8}}]\n",
    "escape.yaml": STUDY + 'settings: [{name: "\\e]0;owned\\a [bold red]x", changes: {}}]\n',
    "formula.yaml": STUDY.replace("name: toy\n", "name: '$\\frac{x}$'\n", 1),
}
"""What lies in the folder of every attack."""

NUMBERS = [
    "0",
    "-1",
    "1.5",
    "nan",
    "1e9",
    "999999999999",
    "9" * 40,
    "",
    " ",
    "x",
    "1_0",
    "٣",
    "0x10",
]
TEXTS = [
    "",
    " ",
    "nothing",
    "[bold red]x",
    "\x1b]0;owned\x07",
    "a,b",
    ",",
    "../..",
    "-",
    "%s%n",
    "x" * 300,
    "é",
    "a\nb",
    "null",
    "{}",
    "[" * 20000,
    "9" * 5000,
    "$x$",
    "\udc80",
]
TARGETS = ["plain.txt", "plain.txt/x", "x" * 300, "no/such/y\x00z", "", "/dev/null", "/proc/x"]
SETTINGS = [
    "x",
    "=1",
    "core.adc.bits",
    "core.adc.bits=",
    "core.adc.bits=1.5",
    "core.adc.bits=-1",
    "core.adc.bits=9999999",
    "core.adc.bits=1e400",
    "core.rows=1e30",
    "core.rows=0",
    "chips=1000000",
    "chips=10000",
    "fabric.rows=100000",
    "core.pcm.programming.scale=1e30",
    "core=5",
    "nothing=1",
    'core.wires={"row_ohm": 1e300}',
    "core.pcm.g_max_siemens=1e-300",
    "name=[/x]",
    "layers=5",
    "core.pcm.g_max_siemens=1e+-300",
    "core.dac.bits=" + "[" * 20000,
    'mapping.replicate=[["*",100]]',
    "core.adc.full_scale_amperes=1e-300",
    "core.ldpu.output_bits=100000",
    "core.pcm=null",
    "core.rows=" + "9" * 5000,
    "fabric.topology=\x1b]0;x\x07",
    "core.adc.bits=true",
]
MODELS = [
    "nothing",
    "toy_attack:nothing",
    "toy_attack:leaves",
    "toy_attack:bends",
    "toy_attack:breaks",
    "leaves:x",
    "no.such:x",
    ":",
    "a:b:c",
    "toy_attack:",
    "os:getcwd",
    "[bold]:x",
    "x" * 5000,
    "\x1b]0;owned\x07:x",
]
METRICS = [*TEXTS, *MODELS, "acuracy"]
STUDIES = [
    "nothing.yaml",
    "leaves.py",
    "deep.yaml",
    "bomb.yaml",
    "plain.txt",
    ".",
    "",
    "/dev/null",
    "x" * 300 + ".yaml",
    "a\x00b.yaml",
    "toy_attack.py",
]
MEMORY = ["-1 GB", "0", "x", "1e400 GB", "nan GB", "1 parsec", "", "9" * 500, "1 B"]
DATA_NAMES = [
    *MODELS,
    "toy_attack:tiny",
    "toy_attack.py:nothing",
    "./toy_attack:data",
    "study.yaml",
]
NETWORK_AND_DATA: dict[str | int, list[str]] = {
    "--model": [*MODELS, "paper:resnet9", "toy_attack.py:nothing", "leaves.py:x", "absent.py:x"],
    "--weights": ["nothing.pt", "study.yaml", ""],
    "--data": DATA_NAMES,
    "--data-dir": ["nothing", "plain.txt"],
}
"""Options that replace a network or its data."""

POOL = {
    "--workers": ["-1", "100000", *NUMBERS[2:]],
    "--memory": MEMORY,
    "--scheduler": [
        "",
        "x",
        "tcp://",
        "tls://127.0.0.1:9",
        "http://127.0.0.1:9",
        "tcp://x:99999999",
        "tcp://127.0.0.1:-1",
        "\x1b]0;x\x07",
    ],
    "--yes": ["1"],
}


@dataclass(frozen=True)
class Command:
    """A sound command, and for each option (or position of an argument) values to try."""

    sound: tuple[str, ...]
    attacks: dict[str | int, list[str]]
    makes: tuple[str, ...] = ()
    goes_on: bool = False  # a folder of results may stay: it holds finished trials
    sound_too: dict[str | int, list[str]] = field(default_factory=dict)
    trees: tuple[str, ...] = ()


OUT = ("--out", "out")
COMMANDS = {
    "run": Command(
        (
            "run",
            "toy_attack:picture",
            "--images",
            "2",
            "--programmings",
            "1",
            "--times",
            "0",
            "--preset",
            "ideal",
            "--compensation",
            "none",
            *OUT,
        ),
        {
            1: [*MODELS, "toy_attack:tiny"],
            "--model": MODELS,
            "--data": DATA_NAMES,
            "--metric": METRICS,
            "--weights": [*TARGETS, "nothing.pt", "study.yaml"],
            "--data-dir": [*TARGETS, "nothing"],
            "--preset": [*TEXTS, "hermes"],
            "--set": SETTINGS,
            "--times": [*NUMBERS[1:2], *NUMBERS[3:], "1 parsec", "1e308", "-1s", "9" * 400],
            "--programmings": NUMBERS,
            "--images": NUMBERS,
            "--compensation": TEXTS,
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("out/results.csv", "out/report.json", "out/chip.h5"),
    ),
    "map": Command(
        ("map", "toy_attack:tiny", "--preset", "ideal", *OUT),
        {
            1: [*MODELS, "paper:nothing"],
            **NETWORK_AND_DATA,
            "--input": [*TEXTS, "0", "-1,3", "3,3,3,3,3", "99999999999,9"],
            "--preset": TEXTS,
            "--set": SETTINGS,
            "--replicate": ["*=100", "x", "=3", "*=0", "*=²", "*=" + "9" * 50],
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("out/map.json", "out/floorplan.png"),
    ),
    "perf": Command(
        ("perf", "toy_attack:tiny", "--input", "12", "--images", "2", "--preset", "ideal", *OUT),
        {
            1: [*MODELS, "paper:resnet9"],
            **NETWORK_AND_DATA,
            "--input": [*TEXTS, "0", "13", "3,32,32"],
            "--preset": TEXTS,
            "--set": SETTINGS,
            "--replicate": ["*=2", "x", "*=" + "9" * 50],
            "--images": [*NUMBERS, "1000000000"],
            "--mode": TEXTS,
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("out/perf.json", "out/map.json"),
    ),
    "profile": Command(
        ("profile", "toy_attack:tiny", "--input", "12", "--batch", "2", "--rounds", "1", *OUT),
        {
            1: MODELS,
            **NETWORK_AND_DATA,
            "--input": [*TEXTS, "0", "13", "3,32,32"],
            "--batch": NUMBERS,
            "--threads": NUMBERS,
            "--rounds": NUMBERS,
            "--preset": TEXTS,
            "--set": SETTINGS,
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("out/profile.json",),
    ),
    "sweep": Command(
        ("sweep", "study.yaml", "--workers", "0", *OUT),
        {
            1: STUDIES,
            "--out": TARGETS,
            "--metric": METRICS,
            "--images": NUMBERS,
            **NETWORK_AND_DATA,
            **POOL,
        },
        ("out/table.parquet",),
        sound_too={1: ["markup.yaml", "escape.yaml", "formula.yaml"]},
    ),
    "merge": Command(
        ("merge", "results", *OUT),
        {1: [*TARGETS, "nothing", "."], "--out": TARGETS},
        ("out/table.parquet",),
        trees=("results",),
    ),
    "attribute": Command(
        ("attribute", "toy_attack:tiny", "--study", "study.yaml", "--workers", "0", *OUT),
        {
            1: MODELS,
            "--study": STUDIES,
            "--out": TARGETS,
            "--preset": ["x"],
            **NETWORK_AND_DATA,
            "--set": SETTINGS[:3],
            "--images": NUMBERS,
            "--times": ["1 parsec", "-1", "x"],
            "--compensation": TEXTS,
            "--programmings": NUMBERS,
            "--layers": ["x"],
            "--metric": METRICS,
            **POOL,
        },
        ("out/attribution.csv",),
        sound_too={"--study": ["formula.yaml"]},
    ),
    "optimise": Command(
        ("optimise", "search.yaml", "--workers", "0", *OUT),
        {
            1: STUDIES,
            "--out": TARGETS,
            "--trials": NUMBERS,
            "--metric": METRICS,
            "--images": NUMBERS,
            **NETWORK_AND_DATA,
            **POOL,
        },
        ("out/designs.parquet",),
    ),
    "report": Command(
        ("report", "results", "--out", "page.html"),
        {
            1: [*TARGETS, "nothing", "."],
            "--out": TARGETS,
            "--figures": ["plain.txt", "x" * 300],
            "--setting": TEXTS,
            "--metric": METRICS,
            "--attribution": [*TARGETS, "nothing", "."],
            "--section": MODELS,
            "--force": ["x"],
        },
        ("page.html",),
        trees=("results",),
    ),
    "export": Command(
        ("export", "results", "--mlflow", "file:runs"),  # refused, with or without MLflow
        {1: [*TARGETS, "nothing", "."], "--mlflow": TEXTS, "--experiment": TEXTS},
        trees=("results",),
    ),
    "learn": Command(
        ("learn", "--epochs", "1", "--batch", "64", *OUT),
        {
            "--model": [*MODELS, "toy_attack:tiny"],
            "--data": ["cifar10", *TEXTS],
            "--preset": TEXTS,
            "--set": SETTINGS,
            "--update": TEXTS,
            "--epochs": NUMBERS,
            "--batch": NUMBERS,
            "--rate": NUMBERS,
            "--weight-range": NUMBERS,
            "--seed": NUMBERS,
            "--times": ["1 parsec", "1e308", "-1s", "9" * 400],
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("out/learning.json",),
    ),
    "examples": Command(
        ("examples", *OUT), {"--out": TARGETS, "--force": ["x"]}, ("out/01_one_device.py",)
    ),
    "info": Command(
        ("info",),
        {"--preset": TEXTS, "--list": TEXTS, "--machine": ["x"]},
        sound_too={"--preset": ["ideal"], "--list": ["metrics"]},
    ),
    "device import": Command(
        ("device", "import", "study.yaml", "--map", "device=d,g=g:uS", "--out", "m.h5"),
        {
            2: [*TARGETS, "nothing"],
            "--map": TEXTS,
            "--out": TARGETS,
            "--wide": TEXTS,
            "--file-is": TEXTS,
            "--sheet": TEXTS,
            "--header": NUMBERS,
            "--leave-out": TEXTS,
            "--ignore": TEXTS,
            "--decimal": TEXTS,
            "--thousands": TEXTS,
            "--start": [*TEXTS, *NUMBERS, "9999-99-99"],
            "--read-volts": [*NUMBERS, "1e400", "1e-320"],
            "--negative-read": ["x"],
            "--repeats": TEXTS,
            "--every": [*NUMBERS, "1e400", "1e-320"],
            "--force": ["x"],
            "--title": ["\x1b]0;x\x07"],
            "--source": ["[/x]"],
            "--doi": ["x"],
            "--licence": ["x"],
            "--instrument": ["x"],
            "--notes": ["x"],
        },
    ),
    "device fit": Command(
        ("device", "fit", "nothing.h5"), {2: TARGETS, "--csv": TARGETS, "--force": ["x"]}
    ),
    "device check": Command(
        ("device", "check", "nothing.h5"),
        {2: [*TARGETS, "study.yaml", "."], "--out": TARGETS, "--force": ["x"]},
    ),
    "device simulate": Command(
        (
            "device",
            "simulate",
            "--levels",
            "5,10",
            "--times",
            "20,200",
            "--devices",
            "10",
            "--repeat",
            "0",
            "--out",
            "drawn.h5",
        ),
        {
            "--law": [*TEXTS, *TARGETS, "study.yaml"],
            "--like": [*TARGETS, "nothing", "study.yaml"],
            "--levels": [*TEXTS, *NUMBERS, "1e400", "5,-1", "5,5"],
            "--times": [*TEXTS, *NUMBERS, "1e400", "20,-1", "200,20"],
            "--devices": NUMBERS,
            "--cycles": NUMBERS,
            "--between": [*NUMBERS, "1.0000001"],
            "--repeat": [*NUMBERS[1:], "100001"],
            "--seed": NUMBERS,
            "--out": TARGETS,
            "--force": ["x"],
        },
        ("drawn.h5",),
    ),
    "device show": Command(
        ("device", "show", "nothing.h5", "--out", "a.png"),
        {2: TARGETS, "--out": TARGETS, "--force": ["x"]},
    ),
}


def with_option(command: Command, key: str | int, value: str) -> list[str]:
    """Return the command's words with one of them exchanged or added."""
    words = list(command.sound)
    if isinstance(key, int):
        words[key] = value
    elif key in words:
        words[words.index(key) + 1] = value
    else:
        words += [key, value]
    if key == "--scheduler" and "--workers" in words:
        at = words.index("--workers")
        del words[at : at + 2]
    return words


@st.composite
def attacks(draw, name: str):
    """Return a task: one or two options of a command exchanged."""
    command = COMMANDS[name]
    words, keys = list(command.sound), list(command.attacks)
    makes, goes_on = command.makes, command.goes_on
    if draw(st.integers(0, 9)) == 0 and command.sound_too:
        key = draw(st.sampled_from(sorted(command.sound_too, key=str)))
        words = with_option(command, key, draw(st.sampled_from(command.sound_too[key])))
    else:
        changed = command
        for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique_by=str)):
            words = with_option(changed, key, draw(st.sampled_from(command.attacks[key])))
            changed = Command(tuple(words), command.attacks)
            if key == "--out":
                makes = ()
    return {
        "kind": "cli",
        "arguments": words,
        "files": FILES,
        "makes": list(makes),
        "goes_on": goes_on,
        "needs": list(command.trees),
    }
