"""Programs change by syntax: operators on the marked regions of models/train.py.

They work on a concrete syntax tree (libcst). Every operator leaves a text that still parses.
Nothing is run here: only a box shows whether the program trains. A parent is refused if it does not
compile (patch.py) or has no marked region.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from configs.errors import BadInput
from loop.propose.evolve.ideas import CALLS, FACTORS, IDEAS, Idea
from loop.propose.evolve.patch import FILE, check, refuse, regions

if TYPE_CHECKING:
    import libcst as cst


LEFT = {"notebook"}
"""Regions that no operator changes: learning from a notebook serves the proposer, not the task."""


def mutate(
    text: str, rng: Random, *, others: Sequence[str] = (), most: int = 3
) -> tuple[str, tuple[str, ...]]:
    """Return a program changed by 1 to `most` operators, and a description of each change.

    Whole regions may come from `others`. Raises BadInput for a parent that cannot be read, has no
    region, or offers no operator a change.
    """
    refuse(text)
    count, child, changes = 1, text, list[str]()
    while count < most and rng.random() < 0.4:
        count += 1
    for _ in range(40):
        names = [name for name in CHANCES if others or name != "graft"]
        name = rng.choices(names, [CHANCES[name] for name in names])[0]
        result = (
            _graft(child, rng.choice(others), rng) if name == "graft" else _apply(child, name, rng)
        )
        if result and result[0] != child:
            child = result[0]
            changes.append(result[1])
        if len(changes) >= count and child != text:  # the second may undo the first
            break
    if child == text:
        raise BadInput(
            f"{FILE} has nothing that an operator could change; it should have marked regions with"
            " code"
        )
    check(text, child)
    return child, tuple(changes)


def _apply(text: str, name: str, rng: Random) -> tuple[str, str] | None:
    """Apply an operator to a region; return the text and a description, None without a change."""
    import libcst as cst

    bodies = {where: body for where, body in regions(text).items() if where not in LEFT}
    if not bodies:
        return None
    where = rng.choice(sorted(bodies))
    try:
        result = OPERATORS[name](_tree(bodies[where]), rng)
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError):
        return None
    if result is None:
        return None
    return put_region(text, where, result[0].code), f"{result[1]} in {where}"


@lru_cache(maxsize=256)
def _tree(body: str) -> "cst.Module":
    import libcst as cst

    return cst.parse_module(body)


def _graft(text: str, other: str, rng: Random) -> tuple[str, str] | None:
    own, foreign = regions(text), regions(other)
    names = sorted(
        name for name in (own.keys() & foreign.keys()) - LEFT if own[name] != foreign[name]
    )
    if not names:
        return None
    where = rng.choice(names)
    return put_region(text, where, foreign[where]), f"{where} of another program"


def put_region(text: str, where: str, body: str) -> str:
    """Return a text with another body of a marked region."""
    old = f"# region: {where}\n{regions(text)[where]}# endregion"
    return text.replace(old, f"# region: {where}\n{body}# endregion", 1)


def _walk(tree: "cst.CSTNode") -> Iterator["cst.CSTNode"]:
    yield tree
    for child in tree.children:
        yield from _walk(child)


def pick(tree: "cst.Module", rng: Random, wanted: Callable[["cst.CSTNode"], bool]) -> Any:
    """Draw a node of a kind, None without any."""
    nodes = [node for node in _walk(tree) if wanted(node)]
    return rng.choice(nodes) if nodes else None


def put(tree: "cst.Module", old: "cst.CSTNode", new: Any) -> "cst.Module":
    """Put a node in the place of another, which is recognised by identity."""
    import libcst as cst

    changed = tree.deep_replace(old, new)
    assert isinstance(changed, cst.Module)
    return changed


def scale(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Multiply a float constant; zero becomes a tenth."""
    import libcst as cst

    node = pick(tree, rng, lambda n: isinstance(n, cst.Float))
    if node is None:
        return None
    value = node.evaluated_value * rng.choice(FACTORS) if node.evaluated_value else 0.1
    if not 1e-300 < value < 1e300:
        return None
    new = repr(float(f"{value:.4g}"))
    return put(tree, node, cst.Float(new)), f"{node.value} becomes {new}"


def arithmetic(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Swap + with -, or * with /."""
    import libcst as cst

    swaps: dict[Any, Any] = {
        cst.Add: cst.Subtract,
        cst.Subtract: cst.Add,
        cst.Multiply: cst.Divide,
        cst.Divide: cst.Multiply,
    }
    node = pick(
        tree, rng, lambda n: isinstance(n, cst.BinaryOperation) and type(n.operator) in swaps
    )
    if node is None:
        return None
    new = swaps[type(node.operator)]()
    return (
        put(tree, node, node.with_changes(operator=new)),
        f"{type(node.operator).__name__} becomes {type(new).__name__}",
    )


def swap_call(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Call another function of CALLS with the same arguments."""
    import libcst as cst

    node = pick(tree, rng, lambda n: isinstance(n, cst.Call) and _dotted(n.func) in CALLS)
    if node is None:
        return None
    new = rng.choice(CALLS[_dotted(node.func)])
    return (
        put(tree, node, node.with_changes(func=cst.parse_expression(new))),
        f"{_dotted(node.func)} becomes {new}",
    )


def drop(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Drop a statement of a block with more than a single statement."""
    block, at = _statement(tree, rng, 1)
    if block is None:
        return None
    return (
        put(tree, block, block.with_changes(body=[*block.body[:at], *block.body[at + 1 :]])),
        "a statement is dropped",
    )


def reorder(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Let two neighbouring statements change places."""
    block, at = _statement(tree, rng, 2)
    if block is None:
        return None
    body = [*block.body[:at], block.body[at + 1], block.body[at], *block.body[at + 2 :]]
    return put(tree, block, block.with_changes(body=body)), "two statements change places"


def idea(tree: "cst.Module", rng: Random) -> "tuple[cst.Module, str] | None":
    """Put a known idea of IDEAS into its function."""
    import libcst as cst

    functions = {
        n.name.value: n
        for n in _walk(tree)
        if isinstance(n, cst.FunctionDef) and isinstance(n.body, cst.IndentedBlock)
    }
    names = sorted(name for name, one in IDEAS.items() if one.function in functions)
    if not names:
        return None
    name = rng.choice(names)
    one = IDEAS[name]
    changed = _put_idea(functions[one.function].body, one, rng)
    return (
        None
        if changed is None
        else (put(tree, functions[one.function].body, changed), f"idea: {name}")
    )


def _put_idea(body: Any, one: Idea, rng: Random) -> Any:
    """Return a function's body with the idea, None without a place for it."""
    import libcst as cst

    if one.at == "start":
        at = int(_text_alone(body.body[0]))
        return body.with_changes(body=[*body.body[:at], *_parsed(one.code, ""), *body.body[at:]])
    wanted = (
        _returns
        if one.at == "return"
        else lambda s: isinstance(s, cst.SimpleStatementLine) and _calls(s, one.at)
    )
    places = [
        (b, i)
        for b in _walk(body)
        if isinstance(b, cst.IndentedBlock)
        for i, s in enumerate(b.body)
        if wanted(s)
    ]
    if not places:
        return None
    block, at = rng.choice(places)
    old: Any = block.body[at]
    result = cst.Module([]).code_for_node(old.body[0].value) if one.at == "return" else ""
    new = block.with_changes(
        body=[*block.body[:at], *_parsed(one.code, result), *block.body[at + 1 :]]
    )
    return new if block is body else body.deep_replace(block, new)


def _parsed(code: str, result: str) -> Sequence[Any]:
    import libcst as cst

    return cst.parse_module(code.strip().replace("RESULT", result) + "\n").body


def _returns(statement: "cst.CSTNode") -> bool:
    import libcst as cst

    last = (
        statement.body[0]
        if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1
        else None
    )
    return isinstance(last, cst.Return) and last.value is not None


def _text_alone(statement: "cst.CSTNode") -> bool:
    import libcst as cst

    first = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
    return isinstance(first, cst.Expr) and isinstance(
        first.value, cst.SimpleString | cst.ConcatenatedString
    )


def _calls(node: "cst.CSTNode", name: str) -> bool:
    import libcst as cst

    return any(isinstance(n, cst.Call) and _dotted(n.func) == name for n in _walk(node))


def _dotted(node: "cst.CSTNode") -> str:
    from libcst.helpers import get_full_name_for_node

    return get_full_name_for_node(node) or ""


def _statement(tree: "cst.Module", rng: Random, count: int) -> tuple[Any, int]:
    """Pick `count` neighbouring statements inside functions: no return, docstring or
    definition.

    Returns (None, 0) without candidates.
    """
    import libcst as cst

    fixed = (cst.FunctionDef, cst.ClassDef)
    places = []
    for block in _walk(tree):
        if isinstance(block, cst.IndentedBlock) and len(block.body) > 1:
            free = [
                not isinstance(s, fixed) and not _returns(s) and not _text_alone(s)
                for s in block.body
            ]
            places += [(block, i) for i in range(len(free) - count + 1) if all(free[i : i + count])]
    return rng.choice(places) if places else (None, 0)


OPERATORS: dict[str, Callable[["cst.Module", Random], "tuple[cst.Module, str] | None"]] = {
    "arithmetic": arithmetic,
    "call": swap_call,
    "drop": drop,
    "idea": idea,
    "reorder": reorder,
    "scale": scale,
}
"""Each returns the changed region and a description.

`graft` takes a region of another program, so it needs a program and stands apart.
"""


CHANCES = {"arithmetic": 1, "call": 1, "drop": 1, "graft": 2, "idea": 5, "reorder": 1, "scale": 3}
"""How often each is drawn, against the others; set by hand, tuned on nothing."""
