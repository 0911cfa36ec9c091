"""Data and examples that come with the package are found from any folder, installed or not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aimc_sim import Chip, presets, shipped
from aimc_sim.device import measured
from aimc_sim.studies.schema import load_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder that a user works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_are_those_of_the_folder():
    kept = [p.stem for p in shipped.folder("device_data").glob("*.h5") if p.stem != "published"]
    assert list(measured.SETS) == kept


def test_the_data_set_is_found_by_its_name(elsewhere):
    data = measured.read("generated_25us")
    assert len(data) == 200 * 8 * 12
    spec = presets.replay("generated_25us")
    assert spec.core.device.programming.path == "generated_25us"  # not a place of this machine
    by_path = presets.replay(shipped.folder("device_data") / "generated_25us.h5")
    assert spec.id() == by_path.id()
    with pytest.raises(
        FileNotFoundError,
        match=r"there is no file 'device_data.generated_25us.h5'"
        r"; the data set that comes with aimc_sim is named 'generated_25us'",
    ):
        presets.replay("device_data/generated_25us.h5")
    with pytest.raises(FileNotFoundError, match=r"there is no file 'others\.h5'$"):
        presets.replay("others.h5")


@pytest.mark.filterwarnings("ignore:replay of measured traces")  # its lowest level is not zero
def test_a_chip_of_the_data_set_is_kept_and_read_elsewhere(elsewhere):
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = nn.Linear(8, 4), torch.randn(5, 8)
    chip = Chip.from_model(model, presets.replay("generated_25us")).calibrate(x).program(0)
    wanted = chip.at("1 h")(x, first_image=0)
    chip.save("chip.h5")
    again = Chip.load("chip.h5")
    assert torch.equal(again.at("1 h")(x, first_image=0), wanted)


def test_commands_take_the_name(elsewhere, call):
    code, out, errors = call("device", "check", "generated_25us")
    assert code == 0, errors
    assert "19,200 reads" in out
    code, _, errors = call("device", "check", "data/generated_25us.h5")
    assert code == 2
    assert "is named 'generated_25us'" in errors


def test_an_installation_has_the_folders_inside(tmp_path):
    """Inside the package, or beside it where the project's files are; nowhere else."""
    package = tmp_path / "site" / "aimc_sim"
    package.mkdir(parents=True)
    for name in ("__init__.py", "shipped.py"):
        shutil.copy(ROOT / "aimc_sim" / name, package)
    code = "from aimc_sim import shipped; print(shipped.folder('examples'))"

    def found():
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.stdout.strip() or done.stderr.splitlines()[-1]

    foreign = package.parent / "examples"  # of some other package in site-packages
    foreign.mkdir()
    assert found() == (
        "FileNotFoundError: this installation of aimc_sim lacks its folder 'examples'; install it "
        "again"
    )
    for name in ("pyproject.toml", "setup.py"):
        (package.parent / name).touch()
    assert found() == str(foreign)
    (package / "examples").mkdir()
    assert found() == str(package / "examples")


BUILD = """
import runpy, setuptools
given = {}
setuptools.setup = lambda **more: given.update(more)
runpy.run_path("setup.py")
command = given["cmdclass"]["build_py"](setuptools.Distribution({"packages": []}))
command.ensure_finalized()
for command.editable_mode in (False, True):
    print(len(command.get_outputs()))
"""


def test_an_editable_installation_is_promised_no_folders_inside():
    """The strict kind takes every file that the build promises from the folder of the build."""
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files = sum(len(shipped.contents(name)) for name in shipped.FOLDERS)
    assert [int(line) for line in done.stdout.split()] == [files, 0]


def test_examples_are_listed_and_copied(elsewhere, call):
    code, out, _ = call("examples")
    assert code == 0
    lines = out.splitlines()
    listed = {line.split(" ")[0] for line in lines}
    assert shipped.contents("examples").keys() <= listed
    (row,) = [line for line in lines if line.startswith("searches/energy.yaml")]
    assert "Accuracy after a day against energy per inference" in row
    code, out, errors = call("examples", "--out", "mine/examples")
    assert code == 0, errors
    copied = {
        p.relative_to("mine/examples").as_posix(): p for p in Path().rglob("*") if p.is_file()
    }
    assert copied.keys() == shipped.contents("examples").keys()
    assert f"{len(copied)} examples in mine" in out
    for name, path in shipped.contents("examples").items():
        assert copied[name].read_bytes() == path.read_bytes()
    study = load_study(copied["studies/adc_bits.yaml"])
    assert study.name == "bits of the ADCs"


def test_examples_replace_nothing_unasked(elsewhere, call):
    mine = elsewhere / "there" / "studies" / "drift.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    code, _, errors = call("examples", "--out", "there")
    assert code == 2
    assert "already holds studies/drift.yaml; give --force" in errors
    assert mine.read_text() == "mine"
    assert [p.name for p in (elsewhere / "there").iterdir()] == ["studies"]
    assert call("examples", "--out", "there", "--force")[0] == 0
    assert mine.read_text() != "mine"
    (elsewhere / "file").touch()
    code, _, errors = call("examples", "--out", "file/below")
    assert code == 2
    assert "the examples cannot be copied to 'file/below'" in errors
