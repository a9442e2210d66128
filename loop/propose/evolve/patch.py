"""A change of models/train.py as text: cheap checks, edits between two texts, and their
distance.

Nothing here runs a program. A text is compiled (parsed, never executed) and measured; only then may
libcst make a syntax tree of it. Its parser overflows its stack on a chain of 20,000 attributes, and
would end the trusted process. Refused is text that is too long or too deep, does not compile, or
differs from its parent outside the marked regions.
"""

import ast
import difflib
import re
import tokenize
import warnings
from collections import Counter
from io import StringIO
from itertools import takewhile

from configs.errors import BadInput
from configs.records.regions import MARKED

FILE = "models/train.py"


MOST_CHARACTERS = 60_000
"""A longer program is neither read nor proposed."""


MOST_EDITS = 12
"""Most hunks; beyond them the change becomes a single edit."""


MOST_PAIRS = 1_000_000
"""Most pairs of lines in a comparison, since equal lines take it quadratic time; beyond them the
change is a single edit.
"""


MOST_DEPTH = 60
"""Most levels of syntax; an attribute of an attribute counts as a level.

libcst's parser takes quadratic time and all of the stack in them.
"""


REGION = re.compile(MARKED, re.MULTILINE | re.DOTALL)


_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER)


def refuse(text: str, file: str = FILE) -> None:
    """Raise BadInput unless a program is short, compiles and is not nested deeply; it is not
    run. `file` names it.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadInput(
            f"{file} would have {len(text)} characters; at most {MOST_CHARACTERS} are read"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, file, "exec", dont_inherit=True)
            level: list[ast.AST] = [ast.parse(text)]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise BadInput(
            f"{file} does not compile: {str(error)[:200]!r}; it should be Python"
        ) from None
    depth = 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    if depth > MOST_DEPTH:
        raise BadInput(f"{file} is nested {depth} deep; at most {MOST_DEPTH} levels are read")


def regions(text: str) -> dict[str, str]:
    """Return the bodies of the marked regions by name; of two with the same name the first."""
    return {name: body for name, body in reversed(REGION.findall(text))}


def check(parent: str, child: str) -> None:
    """Take the cheap stages of the cascade: raise BadInput unless a child compiles and differs from
    its parent in marked regions alone.
    """
    refuse(child)
    if REGION.sub(r"\1", parent) != REGION.sub(r"\1", child):
        raise BadInput(
            f"{FILE} changed outside its marked regions; a patch may change what stands between `#"
            " region:` and `# endregion`"
        )


def edits(before: str, after: str) -> list[dict[str, str]]:
    """Return edits (file, search, replace) from `before` to `after`.

    Each search occurs once in the text at its turn, in order.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    hunks = _hunks(old, new)
    result = []
    for first, last, put in reversed(
        hunks
    ):  # from the end, so that the line numbers before it stay true
        low, high = _unique(old, first, last)
        result.append(
            {
                "file": FILE,
                "search": "".join(old[low:high]),
                "replace": "".join([*old[low:first], *put, *old[last:high]]),
            }
        )
        old[first:last] = put
    return result


def _hunks(old: list[str], new: list[str]) -> list[tuple[int, int, list[str]]]:
    """Return (first, last, lines to put there) per changed span of `old`.

    It is a single span if there are too many or the search takes long.
    """
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    rest = min(len(old), len(new)) - same
    ends = zip(reversed(old[len(old) - rest :]), reversed(new[len(new) - rest :]), strict=True)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    a, b = old[same : len(old) - tail], new[same : len(new) - tail]
    if not a and not b:
        return []
    if len(a) * len(b) < MOST_PAIRS:
        codes = [
            c
            for c in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
            if c[0] != "equal"
        ]
        if len(codes) <= MOST_EDITS:
            return [(same + i1, same + i2, b[j1:j2]) for _, i1, i2, j1, j2 in codes]
    return [(same, len(old) - tail, b)]


def _unique(lines: list[str], low: int, high: int) -> tuple[int, int]:
    """Widen a span of lines until its text occurs once."""
    text = "".join(lines)
    while True:
        part = "".join(lines[low:high])
        if (part and text.count(part) == 1) or (low, high) == (0, len(lines)):
            return low, high
        low, high = max(0, low - 1), min(len(lines), high + 1)


def grams(text: str) -> Counter[tuple[str, ...]]:
    """Return the normalised tokens of a program, in threes: no comments, docstrings or layout,
    numbers at two digits.
    """
    try:
        tokens = [
            _normal(t)
            for t in tokenize.generate_tokens(StringIO(text).readline)
            if t.type not in _LAYOUT and not t.string.startswith('"""')
        ]
    except (tokenize.TokenError, SyntaxError, ValueError):
        tokens = text.split()
    return Counter(zip(tokens, tokens[1:], tokens[2:], strict=False))


def _normal(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.INDENT:
        return "in"
    try:
        return f"{float(token.string):.2g}" if token.type == tokenize.NUMBER else token.string
    except ValueError:
        return token.string


def apart(one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]]) -> int:
    """Return how many token threes two programs do not share.

    It is 0 for the same program, about 6 for a changed token.
    """
    return sum(((one - other) + (other - one)).values())
