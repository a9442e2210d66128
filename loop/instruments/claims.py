"""The registered claims of a study, decided on from its figures (evals/registered.py)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.intervals import Figure, missing
from evals.registered import Decided, decide
from loop.instruments.gather import Records

PARTS = {
    "bound": "bound",
    "smallest": "smallest of interest",
    "low_90": "90 %, low",
    "high_90": "90 %, high",
    "p": "p",
    "p_family": "p over the family",
    "power": "power",
}
"""Field of a decided claim -> the end of its name in a list of figures."""
UNITLESS = ("p", "p_family", "power")


def decide_claims(records: Records, figures: Mapping[str, Any]) -> list[Decided]:
    """Return the study's claims beside its figures.

    Each is `not measured` until every run has ended, and with fewer or more runs than registered:
    who may add runs until a claim is shown will show it.
    """
    whole = figures["runs"] == records.config.study.claim_runs
    known = dict(_named(figures)) if records.gains and records.ended and whole else {}
    claims = records.config.study.claims
    return decide([(claim, known.get(claim.path, missing("not measured"))) for claim in claims])


def _named(tree: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Figure]]:
    """Yield the figures of the instruments by the names that `flatten` gives them."""
    for name, value in tree.items():
        where = f"{at}, {name}" if at else str(name)
        if isinstance(value, Figure):
            yield where, value
        elif isinstance(value, Mapping):
            yield from _named(value, where)


def flatten_claims(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each claim as a figure, then its words and its further numbers."""
    for row in rows:
        where, unit = f"claims, {row['name']}", row["unit"]
        figure = (row[part] for part in ("value", "low", "high", "n"))
        yield where, [*figure, unit, row["reads"], None]
        yield f"{where}, says", [row["says"], None, None, None, "", "", None]
        for part, name in PARTS.items():
            own = "" if part in UNITLESS else unit
            yield f"{where}, {name}", [row[part], None, None, None, own, "", None]
