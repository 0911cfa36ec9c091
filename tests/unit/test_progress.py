"""Progress: bars in a terminal, a table in a kernel, silence where lines cannot be drawn again."""

import subprocess
import sys
import types

import pytest

from aimc_sim import progress
from aimc_sim.cli import output
from aimc_sim.studies import sweep

LONG = """
import time
from aimc_sim import progress
from aimc_sim.studies.sweep import Progress

with progress.status("loading <b>"):
    pass
with progress.trials() as report:
    for done in range(4):
        report(Progress(total=3, done=done))
        time.sleep(0.05)
"""


@pytest.fixture
def kernel(monkeypatch):
    """A process that looks like the kernel of a notebook; displays and their updates are kept."""
    shown = []

    class Handle:
        def __init__(self, first):
            self.states = [first]
            shown.append(self.states)

        def update(self, state):
            self.states.append(state)

    module, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.display = lambda state, display_id: Handle(state)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_kernel_shows_one_table_that_is_updated(kernel, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.0)
    assert progress.in_kernel()
    with progress.trials() as report:
        for done in range(4):
            report(sweep.Progress(total=3, done=done, failed=0))
    (states,) = kernel  # one display
    assert len(states) > 4
    last = states[-1]
    assert "3 of 3 trials" in last._repr_html_()
    assert '<progress max="3" value="3">' in last._repr_html_()
    assert repr(last).startswith("running: 3 of 3 trials, ")
    assert "0 of ? trials" in states[0]._repr_html_()
    assert capsys.readouterr() == ("", "")


def test_updates_in_a_kernel_are_few(kernel, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 60.0)
    with progress.bars("images") as bar:
        task = bar.add_task("<i>mine</i>", start=False, total=1000)
        bar.start_task(task)
        for _ in range(1000):
            bar.advance(task, 1)
    (states,) = kernel
    assert len(states) == 2  # the first and the last
    assert "1,000 of 1,000 images" in states[1]._repr_html_()
    assert "&lt;i&gt;mine" in states[1]._repr_html_()


def test_failures_and_the_time_that_is_left_are_shown(kernel, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(progress.time, "monotonic", iter(range(100)).__next__)
    with progress.trials() as report:
        report(sweep.Progress(total=10, done=1, failed=1))
        (states,) = kernel
        text = states[-1]._repr_html_()
        assert "running (1 failed)" in text
        assert "2 of 10 trials" in text
        # Four times as much as was done is left: 8 of 10 trials.
        seconds = float(text.split(' s</td><td class="number">')[0].rpartition(">")[2])
        assert f"{4 * seconds:,.0f} s" in text
        # Trials that the folder held took no time: with three of them five are left, 2.5 times two.
        report(sweep.Progress(total=10, done=1, failed=1, reused=3))
        text = states[-1]._repr_html_()
        assert "5 of 10 trials" in text
        seconds = float(text.split(' s</td><td class="number">')[0].rpartition(">")[2])
        assert f"{2.5 * seconds:,.0f} s" in text
    with progress.status("loading"):
        assert "loading" in kernel[-1][0]._repr_html_()


@pytest.mark.parametrize("below_kernel", [False, True])
def test_a_pipe_and_a_child_of_a_kernel_get_no_escape_sequences(below_kernel, monkeypatch):
    """A kernel gives its children a terminal, of which it keeps the text."""
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    if below_kernel:
        pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")
        monkeypatch.setenv("JPY_PARENT_PID", "1")
        text = _on_terminal(pexpect)
    else:
        done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True)
        assert done.stdout == ""
        text = done.stderr
    assert "\x1b" not in text
    assert text.count("running") == 1  # the last state
    assert "3/3 trials" in text


def test_a_terminal_has_a_bar(monkeypatch):
    """The check above is able to fail: on a terminal, escape sequences are there."""
    pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    text = _on_terminal(pexpect)
    assert "\x1b[" in text
    assert "3/3" in text


def _on_terminal(pexpect) -> str:
    child = pexpect.spawn(sys.executable, ["-c", LONG], encoding="utf-8", dimensions=(24, 120))
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0, child.before
    return child.before


def test_bars_and_the_command_line_write_names_alike():
    assert output.visible("a\x1bb\udc80") == "a\\x1bb\\udc80"


def test_a_real_kernel_keeps_the_last_state():
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LONG)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data", "display_data"]
    assert "loading &lt;b&gt;" in outputs[0].data["text/html"]
    assert "3 of 3 trials" in outputs[1].data["text/html"]
    assert "3 of 3 trials" in outputs[1].data["text/plain"]
