"""The rules that docstrings of the package follow, and a command that lists what breaks them.

``python tests/tools/docstrings.py aimc_sim/mapping`` prints a line per fault of the files under a
path; ``--check`` names the files with more faults than tests/unit/docstring_debt.txt allows, and
``--write`` brings that list to the present counts. The test
``tests/unit/test_docstrings.py`` refuses a file with more faults than the list allows, and a list
that allows more than there are: the counts go down only (``--write`` also follows a moved file).

Rules, by the name that a fault carries:

``missing``
    A public module, class, function or method has no docstring.
``summary``
    The first paragraph starts with a capital letter, a number or code and ends with a full stop;
    that of a function (not of a property, class or module, where a noun phrase names the thing)
    has a verb: "Return ...", "Draws are ...".
``leaning``
    The summary stands on its own: it does not begin with "The same", "Likewise", "Also", "And".
``what``
    No sentence or clause begins with a free "what" and none has it for a predicate: neither
    "What it costs", "what is slower ..." nor "This is what ...". Name the thing.
``verb``
    Code does not see, hear, know, look, remember or forget. A look-up in a table, a forget gate
    and "see :func:`x`" are fine.
``term``
    The field's terms: standard deviation (not spread), evaluation time or time (not moment), held
    constant (not stands still), removed or lost (not gone). Statistical moments keep their name.
``entry``
    An entry of Parameters, Attributes, Returns, Yields or Raises says, beyond its type, the
    meaning. :data:`GLOSSARY` holds the few names that mean one thing everywhere. A result whose
    type is a class of this package (``ChipState``) needs no more, since the summary and the class
    say it; neither does one with shape, type and unit (``(R, C) float32, siemens``) under a
    summary that begins with "Return" and so says which.
``shape``
    An entry that is an array says its shape: ``(rows, cols) float32, siemens``, or in words
    ("any shape", "of the state's shape").
``names``
    Parameters of the docstring are those of the signature; attributes exist in the class.

The text of ``quantity("unit", "description")`` in specifications follows the rules ``verb`` and
``term``; docstrings of constants these and ``what``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DEBT = ROOT / "tests" / "unit" / "docstring_debt.txt"

GLOSSARY = {
    "spec": "specification of the thing at hand",
    "key": "address of random draws",
    "seed": "number from which all draws of one programming come",
    "network": "traced network",
    "chip": "a programmed or compiled chip",
    "program": "compiled program of a chip",
    "step": "one step of a compiled program",
    "steps": "the steps of a compiled program",
    "model": "torch module",
    "node": "operation of a network",
    "path": "file or folder",
    "folder": "folder",
    "rng": "numpy generator of the caller",
    "generator": "torch generator of the caller",
    "ax": "matplotlib axes to draw on",
    "title": "title of a figure",
    "study": "study",
    "search": "search",
    "images": "input images",
    "labels": "classes of the images",
}
"""Names of parameters that mean one thing in the whole package and may stand with a type only."""

_IMPERATIVES = """
accept account accumulate add adjust age allocate answer append apply ask assemble assign attach
average begin bind book bound break bring build calibrate call change check choose clear clip close
collect combine compare compensate compile complete compose compute connect convert copy count
cover create cut declare decode decompose describe divide do download draw drop embed emit encode
estimate evaluate exchange execute expand explain export extend fail fetch fill filter find finish
fit fold follow force format free freeze gather generate get give go group guess hand hold improve
increase initialise insert interpolate invert join judge keep label lay leave let limit list load
lock lower make map mark match measure merge move multiply name normalise note offer open optimise
order pack pad parse pass perform permute pick place plan plot prepare preset print process produce
profile program propose prune pull push put quantise raise read rebuild reduce refuse register
reject release remove rename render repeat replace replicate report require rescale reset resolve
restore return rewrite round route run sample save say scale schedule score search select send set
settle shift show shorten simulate sit size skip snoop solve sort split stack start stop store
subtract sum summarise swap take tell test total trace train translate try tune turn undo unpack
update use validate verify visit wait walk warn weigh wrap write yield
""".split()  # fmt: skip
_FINITE = """
is are was were be been has have had does do can may must will would needs need holds hold gives
give takes take makes make goes go comes come stands stand means mean follows follow says say gets
get adds add becomes become begins begin belongs belong carries carry changes change contains
contain costs cost counts count decides decide depends depend draws draw drives ends end equals
equal exists exist fits fit grows happens keeps keep leads leaves leave lies lie maps meets moves
occupies passes pass reaches reach reads read remains remain returns return runs run sends send
serves sets share shares shows show sits sit stays stay starts start stops stop sums turns turn
uses use wants works work writes write rounds cannot
""".split()  # fmt: skip
_VERBS = {*_IMPERATIVES, *_FINITE}

_SECTIONS = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.M)
_ENTRIES = ("Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises")
_NAMED = ("Parameters", "Other Parameters", "Attributes")
_CODE = re.compile(r"(:[a-z:]+:)?`{1,2}[^`]+`{1,2}", re.S)
_BLOCK = re.compile(r"::\n\n(?: +.*\n?|\n)+|^>>> (?:.*\n?)+?(?:\n|\Z)", re.M)

_START = r"(?:\A|[.!?:;]\s+|\n\s*\n\s*|\n\s*[-*]\s+)"
_FREE_WHAT = re.compile(
    rf"{_START}[Ww]hat\b"
    r"|\bwhat (?:is|are|was|were|does|do|did|has|have|had|can|could|may|must|will|would|should)\b"
    r"|\b(?:is|are|was|were|be) what\b"
)
_LEANING = re.compile(r"(?:The same|Same|Likewise|Ditto|Also|And|But|Or|As above)\b")
_PERSONS = re.compile(
    r"\b(?:sees|saw|seen|hear|hears|heard|know|knows|knew|remember\w*|forgot|forgets|forgotten)\b"
    r"|\b(?:to|can|not|will|would|could|must|may|cannot) see\b"
    r"|\b(?:look|looks|looked|looking)\b(?![ -]up)"
    r"|\bforget\b(?! gate)",
    re.I,
)
_TERMS = re.compile(
    r"\bspreads?\b(?!,?\s(?:over|across|among|evenly|out)\b)"
    r"|(?<!first )(?<!second )(?<!third )(?<!fourth )(?<!central )(?<!raw )\bmoment\b"
    r"|\bstands? still\b|\bstood still\b|\bgone\b",
    re.I,
)
_MOMENTS = re.compile(r"\bmoments\b", re.I)
_STATISTICAL = re.compile(r"\b(?:mean|variance|statistic\w*|central|raw|first|second)\b", re.I)
_ARRAY = re.compile(r"\b(?:u?int(?:8|16|32|64)|b?float(?:16|32|64)|arrays?|ndarray|tensor)\b", re.I)
_SHAPE = re.compile(r"\([^)]*\)|\bshapes?\b|\bscalar\b|\bany size\b|\b[0-9]-?D\b|\bno dimension")
_CLASS = re.compile(r"\A(?:tuple of |list of |iterator of |mapping of )?[A-Z]\w*[a-z]\w*s?\Z")


class Fault(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.where}: {self.text}"


class Entry(NamedTuple):
    """An entry of a section: the names, the type and the description."""

    names: tuple[str, ...]
    kind: str
    text: str


def faults_of(path: Path) -> list[Fault]:
    """Return the faults of one Python file, in the order of its lines."""
    return faults_in(path.read_text(encoding="utf-8"), _short(path))


def faults_in(source: str, name: str) -> list[Fault]:
    """Return the faults of a module's text, in the order of its lines."""
    tree = ast.parse(source)
    found = [
        Fault(name, line, rule, where, text)
        for line, rule, where, text in (*_of_docstrings(tree), *_of_other_text(tree))
    ]
    return sorted(found, key=lambda fault: (fault.line, fault.rule, fault.text))


def counts(path: Path) -> dict[str, int]:
    """Return the number of faults by file, of the files under a path that have any."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    found = {_short(file): len(faults_of(file)) for file in files}
    return {name: count for name, count in found.items() if count}


def allowed() -> dict[str, int]:
    """Return the faults that tests/unit/docstring_debt.txt allows, by file."""
    rows = (line.split() for line in DEBT.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[1]) for row in rows if row}


def _short(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _of_docstrings(tree: ast.Module) -> Iterator[tuple[int, str, str, str]]:
    """Yield (line, rule, where, text) of all docstrings of a module."""
    for node, where, public, owner in _things(tree, "", True, None):
        text = ast.get_docstring(node)
        if text is None:
            if public and not _undocumented_by_right(node):
                yield getattr(node, "lineno", 1), "missing", where, "no docstring"
            continue
        line = node.body[0].lineno
        prose, sections = _split(text)
        for rule, problem in (
            *_of_summary(prose, node),
            *_of_prose(prose),
            *(fault for name in sections for fault in _of_section(name, sections[name], prose)),
            *_of_names(sections, node, owner),
        ):
            yield line, rule, where, problem


def _things(
    node: ast.AST, prefix: str, public: bool, owner: ast.ClassDef | None
) -> Iterator[tuple[ast.AST, str, bool, ast.ClassDef | None]]:
    """Yield the module, classes and functions, with their names and whether they are public."""
    yield node, prefix or "module", public, owner
    inside_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            seen = public and not child.name.startswith("_") and not inside_function
            name = f"{prefix}.{child.name}" if prefix else child.name
            own = node if isinstance(node, ast.ClassDef) else None
            yield from _things(child, name, seen, own)


def _decorators(node: ast.AST) -> set[str]:
    found = (ast.unparse(one) for one in getattr(node, "decorator_list", ()))
    return {text.split("(")[0].rsplit(".", 1)[-1] for text in found}


def _undocumented_by_right(node: ast.AST) -> bool:
    """Return whether a thing speaks through another one: overloads, setters, overridden methods."""
    return bool(_decorators(node) & {"overload", "setter", "override"})


def _split(text: str) -> tuple[str, dict[str, str]]:
    """Return the prose of a docstring and its sections by heading."""
    pieces = _SECTIONS.split(text)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    prose = pieces[0] + "".join(
        "\n\n" + body for name, body in sections.items() if name not in (*_ENTRIES, "Examples")
    )
    return prose, {name: body for name, body in sections.items() if name in _ENTRIES}


def _plain(text: str) -> str:
    """Return text in which code, literal blocks and quoted words do not count."""
    return re.sub(r'"[^"\n]*"', '"x"', _CODE.sub("`x`", _BLOCK.sub("\n\n", text)))


def _of_summary(prose: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    summary = " ".join(prose.strip().split("\n\n")[0].split())
    plain = _plain(summary)
    if not re.match(r"[A-Z0-9`\"(*:]", summary) or not re.search(r"[.!?][\"')]*$", summary):
        yield "summary", f"not a sentence: '{summary}'"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        noun = _decorators(node) & {"property", "cached_property", "setter", "fixture"}
        words = re.findall(r"[A-Za-z]+", plain)
        if not noun and not {word.lower() for word in words} & _VERBS:
            yield "summary", f"no verb: '{summary}'"
    if _LEANING.match(summary):
        yield "leaning", f"'{summary}'"


def _of_prose(text: str) -> Iterator[tuple[str, str]]:
    plain = _plain(text)
    for found in _FREE_WHAT.finditer(plain):
        yield "what", _around(plain, found)
    yield from _of_words(plain)


def _of_words(plain: str) -> Iterator[tuple[str, str]]:
    for found in _PERSONS.finditer(plain):
        yield "verb", _around(plain, found)
    for found in _TERMS.finditer(plain):
        yield "term", _around(plain, found)
    if not _STATISTICAL.search(plain):
        for found in _MOMENTS.finditer(plain):
            yield "term", _around(plain, found)


def _around(text: str, found: re.Match[str]) -> str:
    left, right = max(0, found.start() - 30), found.end() + 30
    return "'" + " ".join(text[left:right].split()) + "'"


def _entries(body: str) -> list[Entry]:
    """Return the entries of a section: lines at its margin, with the deeper lines below them."""
    found: list[Entry] = []
    heading, below = "", []

    def close() -> None:
        if heading:
            names, _, kind = heading.partition(" : ")
            split = tuple(name.strip() for name in names.split(","))
            found.append(Entry(split, kind.strip(), "\n".join(below).strip()))

    for line in body.strip("\n").splitlines():
        if line.strip() and not line.startswith(" "):
            close()
            heading, below = line.strip(), []
        else:
            below.append(line.strip())
    close()
    return found


def _of_section(section: str, body: str, prose: str) -> Iterator[tuple[str, str]]:
    """Yield the faults of entries: descriptions, shapes, words."""
    for entry in _entries(body):
        heading = ", ".join(entry.names) + (f" : {entry.kind}" if entry.kind else "")
        if not entry.text and not _self_sufficient(section, entry, prose):
            yield "entry", f"{section}: '{heading}' has no description"
        if section != "Raises":
            kind = entry.kind or (heading if section in ("Returns", "Yields") else "")
            shaped = _SHAPE.search(kind) or re.search(r"\bshapes?\b", entry.text)
            if _ARRAY.search(_plain(kind)) and not _scalar(kind) and not shaped:
                yield "shape", f"{section}: '{heading}' has no shape"
        yield from _of_prose(entry.text)
        yield from _of_words(_plain(entry.kind))


def _scalar(kind: str) -> bool:
    """Return whether a type is one number (a kernel's float32, say) or a container of arrays."""
    number = re.match(r"(?:u?int|b?float)(?:8|16|32|64)\b\.?(?:, [^(]*)?$", kind)
    return bool(number or re.search(r"\b(?:mapping|dict|tuple|list|sequence|batch)\b", kind))


def _self_sufficient(section: str, entry: Entry, prose: str) -> bool:
    if section in _NAMED:
        return bool(entry.kind) and all(name.lstrip("*") in GLOSSARY for name in entry.names)
    if section == "Raises":
        return False
    kind = entry.kind or ", ".join(entry.names)
    if _CLASS.match(kind) and kind not in ("None", "True", "False"):
        return True
    whole = _ARRAY.search(kind) and _SHAPE.search(kind) and re.search(r"\), |\S, [a-z%-]+", kind)
    return bool(whole) and prose.lstrip().startswith(("Return", "Yield"))


def _of_names(
    sections: dict[str, str], node: ast.AST, owner: ast.ClassDef | None
) -> Iterator[tuple[str, str]]:
    """Yield differences between the names of a docstring and those of the code."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "Parameters" in sections:
        said = [
            name
            for section in ("Parameters", "Other Parameters")
            for entry in _entries(sections.get(section, ""))
            for name in entry.names
        ]
        asked = _arguments(node, owner is not None)
        yield from _difference(said, asked, "the signature")
    if isinstance(node, ast.ClassDef):
        names = _members(node)
        for section in ("Attributes", "Parameters"):
            for entry in _entries(sections.get(section, "")):
                for name in entry.names:
                    if names is not None and name not in names:
                        yield "names", f"{section}: the class has no '{name}'"


def _difference(said: Sequence[str], asked: Sequence[str], where: str) -> Iterator[tuple[str, str]]:
    for name in said:
        if name not in asked:
            yield "names", f"Parameters: '{name}' is not in {where}"
    for name in asked:
        if name not in said:
            yield "names", f"Parameters: '{name}' is missing"


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> list[str]:
    """Return the parameters of a signature; those that begin with an underscore are nobody's."""
    spec = node.args
    found = [one.arg for one in (*spec.posonlyargs, *spec.args)]
    if method and "staticmethod" not in _decorators(node):
        found = found[1:]
    if spec.vararg:
        found.append(f"*{spec.vararg.arg}")
    found += [one.arg for one in spec.kwonlyargs]
    if spec.kwarg:
        found.append(f"**{spec.kwarg.arg}")
    return [name for name in found if not name.startswith("_")]


def _members(node: ast.ClassDef) -> set[str] | None:
    """Return the names that a class defines; None if it may inherit more from an own class."""
    known = {"NamedTuple", "Protocol", "IntEnum", "Enum", "StrEnum", "Exception", "ABC", "Generic"}
    if any(ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] not in known for base in node.bases):
        return None
    found: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            found.add(child.target.id)
        elif isinstance(child, ast.Assign):
            found |= {one.id for one in child.targets if isinstance(one, ast.Name)}
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(child.name)
            if child.name == "__init__":
                found |= set(_arguments(child, True))
            found |= {
                one.attr
                for one in ast.walk(child)
                if isinstance(one, ast.Attribute)
                and isinstance(one.ctx, ast.Store)
                and ast.unparse(one.value) == "self"
            }
    return found


def _of_other_text(tree: ast.Module) -> Iterator[tuple[int, str, str, str]]:
    """Yield faults of the text beside docstrings: of constants, and of specified quantities."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for before, here in pairwise(body) if isinstance(body, list) else ():
            if isinstance(before, ast.Assign | ast.AnnAssign) and (text := _text(here)):
                target = before.targets[0] if isinstance(before, ast.Assign) else before.target
                for rule, problem in _of_prose(text):
                    yield here.lineno, rule, ast.unparse(target), problem
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "quantity":
            for value in node.args[1:2]:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    for rule, problem in _of_words(_plain(value.value)):
                        yield value.lineno, rule, "quantity", problem


def _text(node: ast.AST) -> str:
    """Return the text of a statement that is a string and nothing else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else ""
    return ""


def main(arguments: Sequence[str]) -> int:
    """Print the faults under the paths; or compare (``--check``) or write (``--write``) counts."""
    if "--check" in arguments:
        now, before = counts(ROOT / "aimc_sim"), allowed()
        more = [name for name in now if now[name] > before.get(name, 0)]
        print(*(f"{name}: {now[name]} faults, {before.get(name, 0)} allowed" for name in more),
              sep="\n", end="\n" if more else "")  # fmt: skip
        return int(bool(more))
    if "--write" in arguments:
        now = counts(ROOT / "aimc_sim")
        before = allowed() if DEBT.exists() else {}
        DEBT.write_text("".join(f"{name} {count}\n" for name, count in now.items()))
        print(f"{DEBT.name}: {sum(before.values())} before, {sum(now.values())} now")
        for name in now:
            if now[name] > before.get(name, 0):
                print(f"more than before: {name} {before.get(name, 0)} -> {now[name]}")
        return 0
    paths = [Path(argument) for argument in arguments] or [ROOT / "aimc_sim"]
    for path in paths:
        if not path.exists():
            print(f"there is no {path}; give files or folders, such as aimc_sim/mapping")
            return 2
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
    found = [fault for file in sorted(files) for fault in faults_of(file)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} faults in {len({fault.path for fault in found})} of {len(files)} files")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
