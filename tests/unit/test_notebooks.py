"""The notebooks: each runs in a fresh kernel, says nothing on standard error, gives its outputs."""

import copy
import json
import re
from pathlib import Path

import pytest
from tools import notebooks

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NAMES = ["first_chip", "my_device_data", "train_for_the_chip"]


def book(name):
    return notebooks.read(notebooks.FOLDER / f"{name}.ipynb")


def small(*cells):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    for place, cell in enumerate(made.cells):
        cell.id = f"cell-{place}"
    return made


def test_the_notebooks_are_these():
    assert [path.stem for path in notebooks.names()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_the_present_code(name, tmp_path):
    """After a change that is meant: ``python tests/tools/notebooks.py --write NAME``."""
    committed = book(name)
    fresh = notebooks.run(committed, tmp_path)
    assert list(notebooks.complaints(fresh)) == []
    assert list(notebooks.differences(committed, fresh)) == []


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_tutorials_of_a_small_size(name):
    path, made = notebooks.FOLDER / f"{name}.ipynb", book(name)
    assert path.stat().st_size <= notebooks.MOST_BYTES
    kinds = [cell.cell_type for cell in made.cells]
    assert kinds.count("markdown") >= 7
    assert made.cells[0].source.startswith("# ")
    runs = re.findall("c+", "".join(kind[0] for kind in kinds))
    assert max(map(len, runs)) <= 3  # text between the cells
    outputs = [output for cell in made.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert all(picture.metadata["image/png"]["alt"] for picture in pictures)
    assert sum("text/html" in output.get("data", {}) for output in outputs) >= 3
    numbers = [cell.execution_count for cell in made.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1))  # from top to bottom, in one kernel
    nbformat.validate(made)


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_hold_no_traces_of_a_machine(name):
    text = (notebooks.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert set(json.loads(text)["metadata"]) == {"kernelspec", "language_info"}
    assert not re.search(r"/(?:home|root|tmp|work|Users)/|\x1b|0x[0-9a-f]{8}", text)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (notebooks.FOLDER / link).exists(), link


def test_faults_are_found(tmp_path):
    """An error, a warning, and outputs that changed: each is named with its cell."""
    noisy = small("import warnings; warnings.warn('hear this')", "1 + 1")
    said = list(notebooks.complaints(notebooks.run(noisy, tmp_path)))
    assert len(said) == 1
    assert said[0].startswith("cell 0 writes on standard error")
    assert "hear this" in said[0]
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.run(small("1 / 0"), tmp_path)


def test_outputs_are_compared_in_form(tmp_path):
    made = notebooks.run(small("print('a 1.5 b')", "2 ** 0.5", "'text'"), tmp_path)
    assert list(notebooks.differences(made, made)) == []
    other = copy.deepcopy(made)
    other.cells[0].outputs[0].text = "a -17,300 b\n"  # another number
    assert list(notebooks.differences(made, other)) == []
    made.cells[0].metadata["tags"] = ["exact"]
    (found,) = notebooks.differences(made, other)
    assert found.startswith("cell 0")
    other = copy.deepcopy(made)
    other.cells[2].outputs[0].data["text/plain"] = "'other'"
    other.cells[1].outputs[0].data["image/png"] = "AAAA"
    assert [text[:6] for text in notebooks.differences(made, other)] == ["cell 1", "cell 2"]
    other = copy.deepcopy(made)
    other.cells[2].outputs = []
    (found,) = notebooks.differences(made, other)
    assert "cell 2: 1 outputs, now 0" in found


def test_the_command_refuses_names_that_do_not_exist(capsys):
    """It would find no difference in nothing."""
    with pytest.raises(SystemExit) as refused:
        notebooks.main(["first_chips"])
    assert refused.value.code == 2
    assert "no notebook first_chips; there are ['first_chip'" in capsys.readouterr().err


def test_the_command_converts_without_scripts(tmp_path, capsys):
    pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    assert notebooks.main(["--html", str(tmp_path), "--theme", "dark", "train_for_the_chip"]) == 0
    (path,) = Path(tmp_path).iterdir()
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert 'data-jp-theme-light="false"' in text
    assert "Train for the chip" in text
    assert capsys.readouterr().out == ""
