"""Docstrings follow the rules of tests/tools/docstrings.py; the debt of before only shrinks."""

import pytest
from tools import docstrings

FUNCTION = '''"""A module."""


def {head}:
    """{text}"""
'''


def rules(text: str, head: str = "shift(x)") -> set[str]:
    source = FUNCTION.format(head=head, text=text.replace("\n", "\n    "))
    return {fault.rule for fault in docstrings.faults_in(source, "module.py")}


def entry(line: str, section: str = "Parameters", below: str = "") -> str:
    more = f"\n    {below}" if below else ""
    return f"Return a shifted array.\n\n{section}\n{'-' * len(section)}\n{line}{more}\n"


def test_no_file_has_more_faults_than_it_had():
    """Repair what ``python tests/tools/docstrings.py FILE`` prints; never raise a count."""
    now, allowed = docstrings.counts(docstrings.ROOT / "aimc_sim"), docstrings.allowed()
    more = {name: count for name, count in now.items() if count > allowed.get(name, 0)}
    assert not more, f"{more}; allowed: { {name: allowed.get(name, 0) for name in more} }"


def test_the_list_of_debt_is_up_to_date():
    """After repairs: ``python tests/tools/docstrings.py --write``."""
    now, allowed = docstrings.counts(docstrings.ROOT / "aimc_sim"), docstrings.allowed()
    paid = {name: count for name, count in allowed.items() if count > now.get(name, 0)}
    assert not paid, f"the list allows more than there is: {paid}; run with --write"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("summary", "shift the array."),
        ("summary", "Shift the array"),
        ("summary", "Elements at an address."),
        ("leaning", "The same is done in place."),
        ("what", "What is shifted is returned."),
        ("what", "Return it.\n\nThe cost is small: what takes time is the copy."),
        ("what", "Return what is left."),
        ("what", "Return it.\n\nThis is what a converter does."),
        ("verb", "Return an array that the converter sees."),
        ("verb", "Draw numbers; the key knows the core."),
        ("verb", "Return a crossbar that one can look at."),
        ("verb", "Return a state that the chip remembers."),
        ("term", "Return the spread of the conductances."),
        ("term", "Return the state at a moment of the clock."),
        ("term", "Return a clock that stands still."),
        ("term", "Return devices whose state is gone."),
        ("entry", entry("x : float")),
        ("entry", entry("x : (N,) float32, siemens")),
        ("entry", entry("float", "Returns")),
        ("entry", entry("ValueError", "Raises")),
        ("shape", entry("x : float32 array", below="Conductances to be shifted, siemens.")),
        ("names", entry("y : int", below="Number of places.")),
        ("names", entry("y, x : int", below="Number of places.")),
        ("what", entry("x : int", below="What is shifted.")),
    ],
)
def test_each_rule_is_able_to_fail(rule, text):
    assert rules(text) == {rule}


@pytest.mark.parametrize(
    "text",
    [
        "Return a shifted array; see :func:`shift_back` for the inverse.",
        "Draws are addressed: ``what is known`` is code.",
        "Return the first moment of the conductances, looked up in a table.",
        "Return the forget gate, spread over four cores.",
        "Return both moments: mean and variance.",
        entry("x : int", below="Number of places."),
        entry("(N,) float32, siemens", "Returns"),
        entry("ChipState", "Returns"),
        entry("ValueError", "Raises", "If there is no place."),
    ],
)
def test_sentences_that_are_fine(text):
    assert rules(text) == set()


def test_names_of_the_glossary_need_no_description():
    assert rules(entry("key : Key"), "draw(key)") == set()
    assert rules(entry("key"), "draw(key)") == {"entry"}


def test_public_things_have_docstrings():
    source = "def shift(x):\n    return x\n\n\ndef _shift(x):\n    return x\n"
    found = [(fault.rule, fault.where) for fault in docstrings.faults_in(source, "module.py")]
    assert found == [("missing", "module"), ("missing", "shift")]


def test_text_of_quantities_is_read():
    source = '"""A module."""\n\nx = quantity("-", "spread of delta")\n'
    assert [fault.rule for fault in docstrings.faults_in(source, "module.py")] == ["term"]


def test_attributes_are_those_of_the_class():
    source = (
        '"""A module."""\n\n\nclass Pair(NamedTuple):\n    """Two numbers.\n\n    Attributes\n'
        '    ----------\n    left, rigth : int\n        Both.\n    """\n\n    left: int\n'
        "    right: int\n"
    )
    faults = docstrings.faults_in(source, "module.py")
    assert [fault.text for fault in faults] == ["Attributes: the class has no 'rigth'"]


def test_the_command_prints_a_line_per_fault(tmp_path, capsys):
    path = tmp_path / "bad.py"
    path.write_text('"""What this is."""\n')
    assert docstrings.main([str(path)]) == 1
    assert "bad.py:1: what: module: 'What this is.'" in capsys.readouterr().out
    path.write_text('"""A module."""\n')
    assert docstrings.main([str(path)]) == 0
    assert docstrings.main([str(tmp_path / "none.py")]) == 2
