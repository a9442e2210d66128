"""Which things were left out or altered? The rows of redactions.csv say it.

Closed entries come first, then stored bytes and the secret, then the cells of the other tables.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs.entries import ScoreEntry
from loop.export.columns import CLIP, DIGITS, columns, read_row, shown
from loop.export.redact import WHY, Carried
from loop.export.tables import RedactionRow
from loop.verify.run import list_blobs
from sandbox.decision import policy


def list_left_out(root: str, where: str, carried: Carried) -> Iterator[RedactionRow]:
    """Yield the redactions of a run's entries; `where`: the name of their file."""
    kinds = {entry.place: entry.kind for entry in carried.entries}
    counts = Counter((why, kinds[place]) for place, why in carried.closed.items())
    for (why, kind), count in sorted(counts.items()):
        yield RedactionRow(
            study=root,
            where=where,
            what=f"{kind}: closed as {why}",
            left_out_count=count,
            why=WHY[why][2],
        )
    stored = set[str]()
    for entry in carried.entries:
        if entry.place not in carried.closed:
            stored.update(list_blobs(entry))
    if policy(carried.entries).config.task.table:
        scores = [e for e in carried.entries if e.kind == ScoreEntry.kind]
        yield RedactionRow(
            study=root,
            where="replicates",
            what="exact match, token accuracy, log-odds, calibration error, and slices of them",
            left_out_count=sum(e.place not in carried.closed for e in scores),
            why="an item of a study on a table is a fold of held-out windows, which no answer hits",
        )
    yield RedactionRow(
        study=root,
        where="store",
        what="stored bytes: programs, weights, data, predictions, logs",
        left_out_count=len(stored),
        why="entries name their digests; the run holds them",
    )
    yield RedactionRow(
        study=root,
        where="study secret",
        what="the secret, held-out answers and all that is derived from it",
        left_out_count=1,
        why="its hash alone is in the study root",
    )


def tell_shortened(count: int) -> RedactionRow:
    """Return the redaction of a lean export's replicates, of which it has `count`."""
    return RedactionRow(
        study=None,
        where="replicates",
        what=f"digits of a fraction after {DIGITS}",
        left_out_count=count,
        why="a lean export is small; the run holds them",
    )


def count_shown_otherwise(tables: Mapping[str, Sequence[Any]]) -> Iterator[RedactionRow]:
    """Yield how many cells of each text column are clipped, or show a text otherwise."""
    for table, rows in tables.items():
        if not rows:
            continue
        # The redactions come late: their table counts the rows that stand in it by then.
        values = [read_row(row) for row in rows]
        for name, column in columns(type(rows[0])).items():
            if column.kind is str:
                texts = [row[name] for row in values if row[name]]
                yield from _clipped(f"{table}, {name}", texts, name.endswith("_text"))


def _clipped(where: str, texts: Sequence[str], free: bool) -> Iterator[RedactionRow]:
    long = sum(len(text) > CLIP for text in texts) if free else 0
    if long:
        yield RedactionRow(
            study=None,
            where=where,
            what=f"text after {CLIP} characters",
            left_out_count=long,
            why="entries-*.jsonl holds it whole",
        )
    changed = sum(shown(text, "") != text for text in texts)
    if changed:
        yield RedactionRow(
            study=None,
            where=where,
            what="what does not show itself, or begins a formula",
            left_out_count=changed,
            why="stands as ⟨U+202E⟩, or behind a '",
        )
