"""Modules that only some systems have are asked for where they are used, or not at all."""

import os
import subprocess
import sys
import textwrap

import pytest

from aimc_sim import files
from aimc_sim.studies import folder, work

MISSING = ("fcntl", "grp", "pwd", "resource", "termios")
"""What Python has on Linux and macOS, and not on Windows."""

IMPORT_ALL = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in {missing}:
            caller = sys._getframe(1)
            while "importlib" in caller.f_code.co_filename:
                caller = caller.f_back
            if caller.f_globals.get("__name__", "").startswith("aimc_sim"):
                raise ImportError(f"{{name}} is refused")

for name in {missing}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
import aimc_sim
count = 0
for module in pkgutil.walk_packages(aimc_sim.__path__, "aimc_sim."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        count += 1
    for name in {missing}:  # other packages may have theirs
        sys.modules.pop(name, None)
from aimc_sim.studies import work
assert work._peak_bytes() is None
print(count)
"""


def test_everything_imports_without_modules_of_unix():
    code = textwrap.dedent(IMPORT_ALL).format(missing=MISSING)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 200


def test_the_refusal_would_be_noticed():
    code = IMPORT_ALL.format(missing=("json",)).split("import aimc_sim")[0]
    code += "exec(compile('import json', 'x', 'exec'), {'__name__': 'aimc_sim.x'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "json is refused" in done.stderr


def test_peak_memory_is_counted_here():
    assert work._peak_bytes() > 10 * 2**20


# ------------------------------------------------------------------------------- locks

HOLD = """
import sys, time
from pathlib import Path
from aimc_sim import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    """Yield a lock that another process holds, and that process."""
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield path, process
        process.kill()


def test_a_lock_says_who_holds_it(held):
    path, process = held
    with pytest.raises(files.LockedError, match=rf"process {process.pid} on .+ since 20"):
        files.locked(path).__enter__()
    (path.parent / folder.TRIALS).mkdir()
    with pytest.raises(BlockingIOError, match=rf"another sweep .*process {process.pid}"):
        folder.locked(path.parent).__enter__()


def test_a_dead_process_holds_no_lock(held):
    path, process = held
    process.kill()
    process.wait()
    with files.locked(path), pytest.raises(files.LockedError, match=f"process {os.getpid()} "):
        files.locked(path).__enter__()
    assert not path.with_name(".lock.holder").exists()


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "precious").write_text("x")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"\.lock"):
        files.locked(tmp_path / ".lock").__enter__()
    assert (tmp_path / "precious").read_text() == "x"
