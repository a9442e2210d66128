"""A proposer program changes by syntax: operators on its marked regions, or on all of a file
without any.

They work on a concrete syntax tree (libcst). Nothing is run here: only a box shows whether a child
writes proposals. The operators know nothing of the task.
"""

from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING, Any

from configs.errors import BadInput
from loop.propose.evolve.mutate import arithmetic, drop, pick, put, put_region, reorder, scale
from loop.propose.evolve.patch import refuse, regions

if TYPE_CHECKING:
    import libcst as cst

TRIES = 60
"""Operators drawn for a child until it differs from every program known."""
SWAPS = {"max": "min", "min": "max", "any": "all", "all": "any"}
"""Built-in functions that change places."""


def mutate_program(
    text: str, rng: Random, *, most: int, known: Collection[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """Return a program changed by 1 to `most` operators, and what each of them did, in words.

    It is none of the `known` texts. Raises BadInput for a text that is no Python, too long or too
    deep, and where no operator finds anything new.
    """
    refuse(text, "program")
    wanted = 1
    while wanted < most and rng.random() < 0.4:
        wanted += 1
    child, edits = text, list[str]()
    for _ in range(TRIES):
        result = _apply(child, rng)
        if result is None or result[0] == child or not _reads(result[0]):
            continue
        child = result[0]
        edits.append(result[1])
        if len(edits) >= wanted and child != text and child not in known:
            return child, tuple(edits)
    raise BadInput("program has nothing new that an operator could change; give it a constant")


def _apply(text: str, rng: Random) -> tuple[str, str] | None:
    """Apply an operator to a region, or to a text without any; None where it finds no place."""
    import libcst as cst

    name, bodies = rng.choice(sorted(OPERATORS)), regions(text)
    where = rng.choice(sorted(bodies)) if bodies else ""
    try:
        result = OPERATORS[name](cst.parse_module(bodies[where] if bodies else text), rng)
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError):
        return None
    if result is None:
        return None
    return (put_region(text, where, result[0].code) if bodies else result[0].code), result[1]


def _reads(text: str) -> bool:
    """Tell whether a text is a program that may be proposed."""
    try:
        refuse(text, "program")
    except BadInput:
        return False
    return True


def step(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Change a whole number: by one, to its double or half, or its sign."""
    import libcst as cst

    node = pick(tree, rng, lambda n: isinstance(n, cst.Integer))
    if node is None:
        return None
    value = node.evaluated_value
    choices = [value + 1, value - 1, 2 * value, value // 2, -value]
    new = rng.choice([one for one in choices if one != value])
    if abs(new) > 10**6:
        return None
    return put(tree, node, cst.parse_expression(f"({new})" if new < 0 else str(new))), (
        f"{node.value} becomes {new}"
    )


def compare(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Turn a comparison round: < with >, <= with >=, == with !=."""
    import libcst as cst

    turns: dict[Any, Any] = {
        cst.LessThan: cst.GreaterThan,
        cst.GreaterThan: cst.LessThan,
        cst.LessThanEqual: cst.GreaterThanEqual,
        cst.GreaterThanEqual: cst.LessThanEqual,
        cst.Equal: cst.NotEqual,
        cst.NotEqual: cst.Equal,
    }
    node = pick(tree, rng, lambda n: type(n) in turns)
    if node is None:
        return None
    new = turns[type(node)]()
    return put(tree, node, new), f"{type(node).__name__} becomes {type(new).__name__}"


def negate(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Turn a condition round: of an `if` or an expression with one."""
    import libcst as cst

    node = pick(tree, rng, lambda n: isinstance(n, cst.If | cst.IfExp))
    if node is None:
        return None
    new = cst.UnaryOperation(operator=cst.Not(), expression=_bracket(node.test))
    return put(tree, node.test, new), "a condition is turned round"


def _bracket(node: Any) -> Any:
    import libcst as cst

    return node.with_changes(
        lpar=[*node.lpar, cst.LeftParen()], rpar=[cst.RightParen(), *node.rpar]
    )


def swap(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Call the opposite of a built-in function, or give a truth value its opposite."""
    import libcst as cst

    opposites = {**SWAPS, "True": "False", "False": "True"}
    node = pick(tree, rng, lambda n: isinstance(n, cst.Name) and n.value in opposites)
    if node is None:
        return None
    new = opposites[node.value]
    return put(tree, node, node.with_changes(value=new)), f"{node.value} becomes {new}"


OPERATORS: dict[str, Callable[["cst.Module", Random], "tuple[cst.Module, str] | None"]] = {
    "arithmetic": arithmetic,
    "compare": compare,
    "drop": drop,
    "negate": negate,
    "reorder": reorder,
    "scale": scale,
    "step": step,
    "swap": swap,
}
"""Each returns the changed program and a description, or None without a place for it; all are
equally likely.
"""
