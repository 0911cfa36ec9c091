"""A process that is attacked: takes one input at a time and says what came of it.

It imports ``aimc_sim`` from where PYTHONPATH says, so that the same attacks can be made on another
version. One line of JSON in, one line of JSON out; everything else that is printed goes nowhere.
Memory is bounded by the process's own limit, time by its parent, which ends it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

BYTES = 6 * 2**30
"""Address space: torch and the compiled kernels take 3 GB of it, most of which is never touched."""

LONGEST = 1200
"""Characters of a message that still counts as one sentence."""

ACCEPTED, REFUSED = "accepted", "refused"


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        namespace()  # loading torch and compiling is no part of an attack
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(answer(task)), file=answers, flush=True)


def answer(task: dict) -> dict:
    if task["kind"] == "make":
        import formats

        formats.make(Path(task["folder"]))
        return {"outcome": ACCEPTED}
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            return {"cli": cli, "api": api, "file": damaged}[task["kind"]](task, Path(place))
        finally:
            os.chdir("/")


# ------------------------------------------------------------------------------------ commands


def cli(task: dict, place: Path) -> dict:
    """Run a command; `files` are written before it."""
    for name, text in task.get("files", {}).items():
        (place / name).write_text(text)
    for name, given in task.get("trees", {}).items():
        shutil.copytree(given, place / name)
    for name in ("toy_attack", "leaves"):
        sys.modules.pop(name, None)
    before = listing(place)
    from aimc_sim.cli import main as command

    out, err = io.StringIO(), io.StringIO()
    code, raw = 0, None
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            command(task["arguments"])
        except SystemExit as done:
            code = done.code
        except BaseException as error:
            raw = last_frame(error)
    return judge_command(code, raw, out.getvalue(), err.getvalue(), before, listing(place), task)


def judge_command(code, raw, out, err, before, after, task) -> dict:
    told = [line for line in err.splitlines() if line.strip() and not line.startswith("warning:")]
    if raw is not None:
        return wrong("traceback", raw)
    if "Traceback" in err or "Traceback" in out:
        return wrong("traceback", err[-300:])
    if "\x1b]" in out + err:
        return wrong("escape sequence", repr(out[-200:]))
    if code == 0:
        missing = [name for name in task.get("makes", ()) if name not in after]
        return wrong("exit 0 with nothing done", str(missing)) if missing else {"outcome": ACCEPTED}
    if not isinstance(code, int) or code not in (1, 2):
        return wrong(f"exit code {code!r}", err[-200:])
    errors = [line for line in told if line.startswith("error: ")]
    if len(errors) != 1 or len(told) != 1 or len(errors[0]) > LONGEST:
        return wrong("not one line", err[-300:])
    if code == 2 and after != before and not task.get("goes_on"):
        return wrong("partial output", str(sorted(set(after) ^ set(before))[:5]))
    return {"outcome": REFUSED, "message": errors[0]}


def listing(place: Path) -> list[str]:
    return sorted(
        str(p.relative_to(place)) for p in place.rglob("*") if "__pycache__" not in p.parts
    )


# ------------------------------------------------------------------------------------ Python


def api(task: dict, place: Path) -> dict:
    """Evaluate an expression; `refuse` says whether it must be refused (None: either)."""
    names = namespace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given = eval(task["value"], names)
        except Exception as error:
            return {"outcome": "no such value", "message": repr(error)}
        try:
            found = eval(task["call"], names | {"value": given, "place": place})
        except BaseException as error:
            return judge_error(error, task.get("refuse"))
    if task.get("refuse"):
        return wrong("accepted nonsense", f"{task['call']} with {task['value']}")
    return judge_result(found)


def judge_error(error: BaseException, refuse: bool | None) -> dict:
    from aimc_sim import errors

    ours = (errors.NotProgrammedError, ValueError, TypeError, KeyError, OSError)
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return wrong("memory", last_frame(error))
    frames = traceback.extract_tb(error.__traceback__)
    inside = "aimc_sim" in Path(frames[-1].filename).parts
    if not isinstance(error, ours) or not inside:
        return wrong("traceback", last_frame(error))
    plain = str(error.args[0] if error.args else error)
    if not plain.strip() or len(plain) > LONGEST:
        return wrong("no sentence", last_frame(error))
    if refuse is False:
        return wrong("refused what is sound", plain)
    return {"outcome": REFUSED, "message": plain}


def judge_result(found) -> dict:
    import torch

    if isinstance(found, torch.Tensor) and found.is_floating_point():
        if not torch.isfinite(found).all():
            return wrong("result that is not finite", str(found.flatten()[:3]))
    return {"outcome": ACCEPTED}


_names: dict = {}


def namespace() -> dict:
    """Return what expressions may use; chips are made once and copied."""
    if _names:
        return _names
    import copy

    import numpy as np
    import torch
    from torch import nn

    import aimc_sim
    from aimc_sim import presets, results, spec, spiking, training, transforms, units, zoo

    try:
        from aimc_sim.runtime import probe
    except ImportError:  # of an older version
        from aimc_sim.bridge import probe
    from aimc_sim.search import schema as search_schema
    from aimc_sim.studies import schema

    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    images = torch.randn(8, 12)
    small = presets.hermes("odp").with_({"core.rows": 16, "core.cols": 16})
    ready = aimc_sim.Chip.from_model(model, small).calibrate(images).program(1)
    lstm = aimc_sim.Chip.from_model(
        nn.LSTM(5, 6, batch_first=True).eval(), presets.ideal().with_({"fabric.rows": 3})
    )
    lstm.calibrate(torch.randn(4, 3, 5)).program(0)

    def fresh():
        return copy.copy(ready)

    def complex_model():
        return nn.Linear(12, 4, dtype=torch.complex64)

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 4)
            self.norm = nn.LayerNorm(8)

        def forward(self, x):
            x = self.first(x)
            return self.last(self.norm(x + self.second(self.norm(x))))

    _names.update(
        transforms=transforms, residual=Residual().eval(),
        aimc_sim=aimc_sim, presets=presets, results=results, spec=spec, spiking=spiking,
        training=training, units=units, zoo=zoo, probe=probe, schema=schema,
        search_schema=search_schema, torch=torch, np=np, nn=nn, Path=Path, model=model,
        images=images, small=small, fresh=fresh, lstm=lstm, complex_model=complex_model,
        nan=float("nan"), inf=float("inf"), os=os,
    )  # fmt: skip
    return _names


# ------------------------------------------------------------------------------------ files


def damaged(task: dict, place: Path) -> dict:
    """Read a copy of a sound file with some bytes changed: the same content, or refused."""
    source = Path(task["path"])
    target = place / source.name
    if source.is_dir():
        shutil.copytree(source, target)
        victim = target / task["inside"]
    else:
        shutil.copy(source, target)
        victim = target
        for beside in source.parent.glob(source.name + ".*"):
            shutil.copy(beside, place / beside.name)
    content = bytearray(victim.read_bytes())
    for position, change in task.get("flips", ()):
        content[position % len(content)] ^= change
    if task.get("cut") is not None:
        del content[task["cut"] % len(content) :]
    changed = bytes(content) != victim.read_bytes()
    victim.write_bytes(bytes(content))
    import formats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = formats.READ[task["format"]](target)
        except BaseException as error:
            return judge_error(error, None if changed else False)
    if task.get("any_content") or formats.same(found, formats.READ[task["format"]](source)):
        return {"outcome": ACCEPTED}
    return wrong("other content, silently", f"{task}")


# ------------------------------------------------------------------------------------ verdicts


def wrong(what: str, where: str) -> dict:
    return {"outcome": what, "wrong": True, "message": where[:600]}


def last_frame(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    here = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    ours = [f for f in frames if "aimc_sim" in Path(f.filename).parts]
    via = f" via {ours[-1].filename}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}: {str(error)[:200]} ({here}{via})"


if __name__ == "__main__":
    main()
