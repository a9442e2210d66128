"""Mutants that lack one whole check, and the tests in which each check fires.

A check is an `if` that ends by raising or by returning something, or a call of `need`. Only where
it fires can a test tell the program with it from the program without. So each mutant is tried on
such tests alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import Mutation

WATCH = r'''
import os
seen = set()
def fired(name):
    """Write down that a check fired, and in which test."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    if test and (name, test) not in seen:
        seen.add((name, test))
        with open(PLACE, "a") as file:
            file.write(f"{name} {test}\n")
    return True
class Raises:
    def __init__(self, name):
        self.name = name
    def __enter__(self):
        return self
    def __exit__(self, kind, *rest):
        if kind:
            fired(self.name)
'''


def checks(wrapper: MetadataWrapper) -> tuple[cst.Module, list[Mutation]]:
    """Return a parsed source, and a mutation for each check in it: without the check."""
    found = []
    for node in below(wrapper.module):
        if isinstance(node, cst.If) and _refuses(node.body):
            without: cst.CSTNode = node.with_changes(test=cst.Name("False"))
        elif isinstance(node, cst.SimpleStatementLine) and _is_need(node):
            without = node.with_changes(body=[cst.Pass()])
        else:
            continue
        found.append(Mutation(node, without, None))
    return wrapper.module, found


def watch(file: str, source: str, lines: set[int]) -> str:
    """Return a source whose checks at these lines tell when they fire."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    places = wrapper.resolve(PositionProvider)
    module, every = checks(wrapper)
    nodes = {m.original_node: places[m.original_node].start.line for m in every}
    names = {node: f"{file}:{line}" for node, line in nodes.items() if line in lines}
    assert len(names) == len(lines), f"{file} has no checks at {lines - {*nodes.values()}}"
    return module.visit(_Watched(names)).code


class _Watched(cst.CSTTransformer):
    def __init__(self, names: dict[cst.CSTNode, str]) -> None:
        super().__init__()
        self._names = names

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        if not (name := self._names.get(original_node)):
            return updated_node
        test = updated_node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        call = cst.parse_expression(f"__import__('watched').fired({name!r})")
        both = cst.BooleanOperation(test, cst.And(), call)
        return updated_node.with_changes(test=both)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement:
        if not (name := self._names.get(original_node)):
            return updated_node
        shell = cst.parse_statement(f"with __import__('watched').Raises({name!r}): pass")
        assert isinstance(shell, cst.With)
        return shell.with_changes(body=cst.IndentedBlock([updated_node]))


def _refuses(block: cst.BaseSuite) -> bool:
    """Tell whether a block ends by raising, or by returning something."""
    lines = [part for part in block.body if isinstance(part, cst.SimpleStatementLine)]
    last = lines[-1].body[-1] if lines else None
    return isinstance(last, cst.Raise) or (isinstance(last, cst.Return) and bool(last.value))


def _is_need(line: cst.SimpleStatementLine) -> bool:
    called = line.body[0].value if isinstance(line.body[0], cst.Expr) else None
    name = called.func if isinstance(called, cst.Call) else None
    return isinstance(name, cst.Name) and name.value == "need"


def below(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Return a node and all in it."""
    return [node, *(part for child in node.children for part in below(child))]


@dataclass
class Durations:
    """A plug-in of pytest that writes down how long each test took, and whether it passed."""

    place: Path

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write a line for each phase of a test."""
        with self.place.open("a") as file:
            file.write(json.dumps([report.nodeid, report.duration, report.failed]) + "\n")


def witnesses(folder: Path, most: int) -> dict[str, dict[str, float]]:
    """Return by check the passed tests in which it fired, with their seconds.

    The quickest come first, and of each test function the quickest alone.
    """
    took, failed = dict[str, float](), set[str]()
    for line in (folder / "durations").read_text().splitlines():
        test, seconds, is_failure = json.loads(line)
        took[test] = took.get(test, 0.0) + seconds
        failed |= {test} if is_failure else set()
    print(len(took), "tests", *(f"failed without a mutant: {test}" for test in sorted(failed)))
    found = dict[str, set[str]]()
    place = folder / "fired"
    for line in place.read_text().splitlines() if place.exists() else ():
        name, _, test = line.partition(" ")
        found.setdefault(name, set()).update({test} & took.keys() - failed)
    return {name: _quickest(tests, took, most) for name, tests in found.items()}


def _quickest(tests: set[str], took: dict[str, float], most: int) -> dict[str, float]:
    of = dict[str, str]()
    for test in sorted(tests, key=lambda test: (took[test], test)):
        of.setdefault(test.partition("[")[0], test)
    return {test: took[test] for test in [*of.values()][:most]}
