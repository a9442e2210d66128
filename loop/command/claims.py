"""Registered claims in the terminal: before a study, and decided on after it."""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.settings.claims import Claim
from loop.terminal import print_line, print_table, shorten


def print_registered(claims: Sequence[Claim], repeats: int, runs: int) -> None:
    """Print the claims that a study would register."""
    if not claims:
        print_line("no claims are registered (study.claims)")
        return
    print_table([[claim.name, claim.describe()] for claim in claims], ["claim", "says"], False)
    print_line(
        f"the study root freezes these {len(claims)} claims; they are decided on as one family"
        f" (Holm, level 0.05), on {runs} run{'s' * (runs > 1)} (study.claim_runs)"
    )
    if repeats * runs < 10:
        print_line(f"{repeats * runs} repeats over all runs are fewer than the 10 that decide one")


def print_decided(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the claims of a study beside what was measured, and say where none was."""
    cells = [
        [
            row["name"],
            row["says"],
            _write_interval(row),
            shorten(row["p"]),
            shorten(row["p_family"]),
            shorten(row["power"]),
            row["reads"],
        ]
        for row in rows
    ]
    heads = ["claim", "says", "value (95 %)", "p", "p, family", "power", "reads"]
    print_table(cells, heads, False)
    if all(row["value"] is None for row in rows):
        print_line(
            "claims wait for as many runs as study.claim_runs says, no fewer and no more, all ended"
        )


def _write_interval(row: Mapping[str, Any]) -> str:
    both = row["asks"] == "equivalent"
    low, high = (row["low_90"], row["high_90"]) if both else (row["low"], row["high"])
    if row["value"] is None:
        return ""
    level = ", 90 %" if both else ""
    return f"{shorten(row['value'])} ({shorten(low) or '-'} to {shorten(high) or '-'}{level})"
