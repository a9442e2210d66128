"""Proposer `llm`: read an outside model's answer as a proposal.

Forgiving in form: prose, code fences and thoughts around are skipped. Edits come as SEARCH/REPLACE
blocks or inside the JSON. Strict in content: a forbidden knob, key or edit makes the whole answer
an invalid proposal.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from configs.build import need, parse, strict_json
from configs.errors import BadInput
from configs.recipe import Recipe
from configs.records import Edit, Proposal
from loop.propose.evolve.patch import FILE, check

STARTS = 50
"""Most places of an answer to try as the begin of its JSON object; text beyond is not read."""


FIELDS = ("hypothesis", "knobs", "predicted_gain", "edits")


class Unusable(BadInput):
    """An answer that is no proposal; `text` is the model's own."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(why)
        self.text = text


def within_regions(source: str, edits: Sequence[Edit]) -> str:
    """Return a source with edits applied in turn.

    Raises BadInput for an edit with several places, outside the regions, or without valid
    Python.
    """
    text = source
    for number, edit in enumerate(edits):
        need(edit.file == FILE, f"edits[{number}].file", edit.file, FILE)
        count = text.count(edit.search)
        need(
            count == 1,
            f"edits[{number}].search",
            edit.search,
            f"text that occurs once in {FILE}; it occurs {count} times",
        )
        text = text.replace(edit.search, edit.replace)
    if edits:
        check(source, text)
    return text


def read(answer: str, source: str) -> str:
    """Return the strict JSON of the proposal in a model's answer to the source in its question.

    Raises BadInput for an unusable answer.
    """
    rest, blocks = read_blocks(answer.replace("\r\n", "\n").rpartition("</think>")[2])
    fields: dict[str, Any] = {"hypothesis": "", "knobs": {}, **_object(rest, bool(blocks))}
    if isinstance(fields["knobs"], list):
        fields["knobs"] = _pairs(fields["knobs"])
    inside = fields.get("edits") or []
    need(
        isinstance(inside, list) and all(isinstance(e, dict) for e in inside),
        "edits",
        inside,
        "a list of edits",
    )
    edits = [{"file": FILE, **e} for e in inside] + [
        {"file": FILE, "search": s, "replace": r} for s, r in blocks
    ]
    fields["edits"] = edits
    whole = json.dumps(fields)
    proposal = parse(Proposal, strict_json(whole))
    need(
        bool(proposal.edits or proposal.knobs),
        "the answer",
        "without knobs and edits",
        "a proposal that changes something",
    )
    within_regions(source, proposal.edits)
    return whole


def _pairs(knobs: list[Any]) -> dict[str, Any]:
    """Return knobs from a list of name and value, the form in the JSON schema."""
    for one in knobs:
        need(
            isinstance(one, dict)
            and set(one) == {"name", "value"}
            and isinstance(one["name"], str),
            "knobs",
            one,
            "pairs of name and value",
        )
    pairs = {one["name"]: one["value"] for one in knobs}
    need(
        len(pairs) == len(knobs),
        "knobs",
        [one["name"] for one in knobs],
        "a list without repetition",
    )
    return pairs


def read_blocks(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the text without its SEARCH/REPLACE blocks, and the blocks."""
    rest, blocks = list[str](), list[tuple[str, str]]()
    parts: list[list[str]] = []
    for line in text.split("\n"):
        if not parts and re.fullmatch(r"<{5,9} ?SEARCH\s*", line):
            parts = [[]]
        elif len(parts) == 1 and re.fullmatch(r"={5,9}\s*", line):
            parts.append([])
        elif len(parts) == 2 and re.fullmatch(r">{5,9} ?REPLACE\s*", line):
            blocks.append(("\n".join(parts[0]), "\n".join(parts[1])))
            parts = []
        else:
            (parts[-1] if parts else rest).append(line)
    if parts:
        raise BadInput(
            "the answer's last SEARCH block has no end; it should close with >>>>>>> REPLACE"
        )
    return "\n".join(rest), blocks


def _object(text: str, optional: bool) -> dict[str, Any]:
    """Return the last JSON object of a text with a proposal's keys, else the last with knobs' names
    alone.
    """
    named, bare = None, None
    for piece in _objects(text):
        keys = set(json.loads(piece))
        if keys & set(FIELDS):
            named = piece
        elif keys and keys <= set(Recipe.__dataclass_fields__):
            bare = piece
    if named is not None:
        result: dict[str, Any] = strict_json(named)
        return result
    if bare is not None:
        return {"knobs": strict_json(bare)}
    if optional:
        return {}
    raise BadInput(
        "the answer holds no JSON object with a proposal; it should have hypothesis, knobs and"
        " predicted_gain"
    )


def _objects(text: str) -> Iterator[str]:
    """Yield the text of each outermost JSON object, from the first STARTS places of a brace."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(STARTS):
        at = text.find("{", at)
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = _beyond(text, at)
            continue
        if isinstance(value, dict):
            yield text[at:end]
        at = end


def _beyond(text: str, at: int) -> int:
    """Return where to look on after a brace that begins no whole object.

    It is behind a broken object, so that no part of it counts as a proposal.
    """
    if not re.match(r'\{\s*"', text[at : at + 200]):
        return at + 1
    depth = 0
    for brace in re.finditer(
        r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}]', text[at:], re.DOTALL
    ):  # an open string ends with the text, so that this is linear
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return at + brace.end()
    return len(text)
