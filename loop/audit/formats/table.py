"""Tables of text: results.tsv of autoresearch, a CSV of trials, and an export of W&B."""

import ast
import codecs
import csv
import io
import json
from typing import Any

from loop.audit.formats.base import (
    MOST_TRIALS,
    Found,
    RefusedError,
    choose_metric,
    digest,
    guess_direction,
    make_trial,
    need_some,
    number,
)

ROLES = {
    "name": ("id", "name", "commit", "trial", "step", "run", "number"),
    "kept": ("kept", "keep", "status", "accepted", "decision"),
    "parent": ("parent", "parent_id"),
    "promised": ("promised", "promised_gain", "predicted_gain", "expected_gain"),
    "content": ("content", "digest", "sha256"),
    "group": ("group", "dataset", "eval_set", "split"),
    "failure": ("failure", "error"),
    "text": ("description", "idea", "change", "notes"),
}
"""What a column holds, by its name in small letters."""
KEPT = {"keep": True, "kept": True, "accept": True, "accepted": True, "true": True, "yes": True}
KEPT |= {"1": True, "0": False, "discard": False, "discarded": False, "reject": False}
KEPT |= {"rejected": False, "false": False, "no": False, "revert": False, "reverted": False}
FAILED = ("crash", "crashed", "failed", "fail", "error", "killed", "timeout")
UNFINISHED = ("running", "pending", "queued")
SEEDS = ("seed", "random_seed")
"""Settings that do not change what is evaluated."""
LITERAL_BYTES = 100_000
"""Longest summary or config of W&B that is parsed."""


def read_table(data: bytes, score: str) -> Found:
    """Read a table; its header says which kind it is."""
    text = _decode(data)
    head = text.partition("\n")[0]
    mark = "\t" if "\t" in head else ";" if head.count(";") > head.count(",") else ","
    csv.field_size_limit(4 * LITERAL_BYTES)
    # A description of autoresearch may hold a single quote mark.
    lines = io.StringIO(text, newline="")
    rows = (
        csv.reader(lines, delimiter=mark, quoting=csv.QUOTE_NONE)
        if mark == "\t"
        else csv.reader(lines, delimiter=mark)
    )
    try:
        names = [name.strip() for name in next(rows, [])]
        cells = [row for row, _ in zip(rows, range(MOST_TRIALS + 2), strict=False) if any(row)]
    except csv.Error as error:
        raise RefusedError(f"is no table ({error}); it should be a CSV of trials") from None
    if len(names) < 2 or len(set(names)) < len(names):
        raise RefusedError(
            "has no header of two or more different names; it should be a results.tsv, a CSV of"
            " trials, an export of W&B, a checkpoint of OpenEvolve or a database of ShinkaEvolve"
        )
    table = [dict(zip(names, row, strict=False)) for row in cells]
    if {"commit", "status", "description"} <= set(names):
        return _read_autoresearch(names, table, score)
    if {"summary", "config", "name"} <= set(names):
        return _read_api(table, score)
    if {"Name", "State"} <= set(names):
        return _read_runs(names, table, score)
    return _read_trials("csv", names, table, score)


def read_numbers(data: bytes, score: str) -> Found:
    """Read a number a line, below a head or not; or the score of a table."""
    lines = [line.strip() for line in _decode(data).split("\n") if line.strip()]
    values = [number(line) for line in lines]
    if None in values[1:] or not values[1:]:
        return read_table(data, score)
    scores = [value for value in values if value is not None]
    trials = [make_trial(str(i), one, None) for i, one in enumerate(scores)]
    need_some(trials)
    return Found("csv", "score", "", trials)


def _decode(data: bytes) -> str:
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeError:
        raise RefusedError("is no text in UTF-8 or UTF-16; it should be a table of text") from None
    if "\0" in text:
        raise RefusedError("holds zero bytes; it should be a table of text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_autoresearch(names: list[str], table: list[dict[str, str]], score: str) -> Found:
    texts: dict[str, set[str]] = {}
    for row in table:
        texts.setdefault(row["commit"].strip(), set()).add(row.get("description", "").strip())
    found = _read_trials("autoresearch", names, table, score)
    shared = 0
    for trial, row in zip(found.trials, table, strict=True):
        commit = row["commit"].strip()
        alone = len(texts[commit]) == 1 and commit != ""
        shared += not alone
        trial["content"] = commit if alone else ""
    if shared:
        found.notes.append(
            f"{shared} trials name a commit that trials of another description name too, so the"
            " log does not say what they ran"
        )
    return found


def _read_trials(kind: str, names: list[str], table: list[dict[str, str]], score: str) -> Found:
    roles = _find_roles(names)
    metric = _find_score(names, table, score, set(roles.values()))
    trials, unknown = [], 0
    for i, row in enumerate(table):
        cell = {role: (row.get(name) or "").strip() for role, name in roles.items()}
        word = cell.get("kept", "").lower()
        failed = word in FAILED
        unknown += bool(word) and not failed and word not in KEPT
        trials.append(
            make_trial(
                cell.get("name") or str(i + 1),
                None if failed else number(row.get(metric)),
                False if failed else KEPT.get(word),
                parent=cell.get("parent", ""),
                promised=number(cell.get("promised")),
                content=cell.get("content", ""),
                group=cell.get("group", ""),
                failure=word if failed else cell.get("failure", ""),
                text=cell.get("text", ""),
            )
        )
    need_some(trials)
    notes = [f"{unknown} trials have a status of no known word"] if unknown else []
    return Found(kind, metric, guess_direction(metric), trials, notes=notes)


def _find_roles(names: list[str]) -> dict[str, str]:
    small = {name.lower().replace(" ", "_"): name for name in names}
    pairs = {role: [small[w] for w in words if w in small] for role, words in ROLES.items()}
    return {role: found[0] for role, found in pairs.items() if found}


def _find_score(names: list[str], table: list[dict[str, str]], asked: str, taken: set[str]) -> str:
    """Return the column of the score: the asked one, or the only one that can be it."""
    columns = dict.fromkeys(names)
    if asked:
        return choose_metric(asked, columns, "")
    numeric = [
        name
        for name in names
        if name not in taken and any(number(row.get(name)) is not None for row in table)
    ]
    named = [name for name in numeric if name.lower() == "score"] or [
        name for name in numeric if guess_direction(name)
    ]
    chosen = named if len(named) == 1 else numeric
    if len(chosen) != 1:
        raise RefusedError(
            f"has {len(chosen)} columns that may be the score ({', '.join(chosen[:12]) or 'none'});"
            " it should be named with --score"
        )
    return chosen[0]


def _read_runs(names: list[str], table: list[dict[str, str]], score: str) -> Found:
    """Read the table of runs as W&B's page exports it; it lists the newest run first."""
    ended = [row for row in table if row["State"].strip().lower() not in UNFINISHED]
    order = next((name for name in ("Created", "createdAt") if name in names), "")
    if order:
        ended.sort(key=lambda row: row.get(order) or "")
    states = [row.pop("State", "").strip().lower() for row in ended]
    for name in ("Runtime", "Created", "createdAt", "ID", "User", "Notes", "Tags", "Sweep"):
        names = [other for other in names if other != name]
    found = _read_trials("wandb", [name for name in names if name != "State"], ended, score)
    for trial, state in zip(found.trials, states, strict=True):
        if state in FAILED:
            trial.update(score=None, kept=False, failure=state)
    if len(ended) < len(table):
        found.notes.append(f"{len(table) - len(ended)} runs had not ended and are left out")
    if not order:
        found.notes.append("no column Created: the order of the rows is taken for that of the runs")
    return found


def _read_api(table: list[dict[str, str]], score: str) -> Found:
    """Read runs as W&B's documented program for exports writes them: a summary and a config."""
    runs = [(row, _literal(row["summary"]), _literal(row["config"])) for row in table]
    stamps = [number(summary.get("_timestamp")) for _, summary, _ in runs]
    if None not in stamps:
        runs = [run for _, _, run in sorted(zip(stamps, range(len(runs)), runs, strict=True))]
    keys = {k: None for _, s, _ in runs for k, v in s.items() if not k.startswith("_")}
    numeric = [k for k in keys if any(number(s.get(k)) is not None for _, s, _ in runs)]
    metric = choose_metric(score, keys, "")
    if not metric:
        named = [key for key in numeric if guess_direction(key)]
        metric = _find_score(named or numeric, [s for _, s, _ in runs], "", set())
    trials = [
        make_trial(
            row["name"],
            number(summary.get(metric)),
            None,
            content=digest(_settings(config)) if config else "",
            promised=number(summary.get("promised_gain")),
        )
        for row, summary, config in runs
    ]
    need_some(trials)
    notes = [] if None not in stamps else ["the order of the rows is taken for that of the runs"]
    return Found("wandb", metric, guess_direction(metric), trials, notes=notes)


def _literal(text: str) -> dict[str, Any]:
    """Return a mapping of plain values that Python or JSON wrote; nothing is run."""
    if len(text) > LITERAL_BYTES:
        raise RefusedError(f"has a summary of {len(text)} characters; it should have fewer")
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if isinstance(value, dict):
            return {str(key): part for key, part in value.items()}
    return {}


def _settings(config: dict[str, Any]) -> str:
    kept = {key: repr(value) for key, value in config.items() if key.lower() not in SEEDS}
    return json.dumps(kept, sort_keys=True)
