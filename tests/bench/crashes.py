"""Kill studies at random instants, and tell whether each then found what it finds whole.

    P tests/bench/crashes.py run RESULTS.jsonl KILLS [KIND...]   goes on where it stopped
    P tests/bench/crashes.py table RESULTS.jsonl                 kills, lost jobs and flaws of each

P is .venv/bin/python. Kinds are those of tests/crashes.py: planted studies whose proposers are
`program`, `weights`, or a program under a `reviewer`, and `real`, whose trainings run in a box.
Each row is a study of its own seed, run whole and then killed up to a dozen times; a row with a
flaw, or with another finding, ends the bench with 1. A kill hits the loop or its box.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crashes import (  # noqa: E402
    ANY_CHARGE,
    KINDS,
    SPANS,
    compose,
    crash,
    flaws,
    kept,
    lost_jobs,
    play,
)
from studies import mandate  # noqa: E402

from evals import judge  # noqa: E402

EACH = 12
"""Most kills of a study."""


def run(results: Path, kills: int, *kinds: str) -> None:
    """Add rows until each kind has so many kills."""
    judge.OVER_BUDGET = ANY_CHARGE
    for kind in kinds or (*KINDS, "real"):
        rows = [row for row in _read(results) if row["kind"] == kind]
        while sum(row["kills"] for row in rows) < kills:
            rows.append(_kill(kind, len(rows) + 1))
            with results.open("a") as file:
                file.write(json.dumps(rows[-1], sort_keys=True) + "\n")
            print(rows[-1], flush=True)
    if any(row["flaws"] or not row["same"] for row in _read(results)):
        sys.exit(1)


def _kill(kind: str, seed: int) -> dict[str, Any]:
    """Return the row of a study: run whole, then killed again and again, in an empty folder."""
    began, home = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
        os.chdir(folder)  # the luck of a simulated study hangs on its folder's name
        try:
            cfg, rng = compose(kind, seed), random.Random(f"{kind} {seed}")
            mandate(cfg)
            crash(lambda: play(cfg), rng, 0.0, 0)
            whole = kept(cfg)
            os.rename("runs", "whole")
            kills = crash(lambda: play(cfg), rng, SPANS[kind], EACH)
            return {
                "kind": kind,
                "seed": seed,
                "kills": kills,
                "lost_jobs": lost_jobs(cfg),
                "flaws": flaws(cfg),
                "same": kept(cfg) == whole,
                "seconds": round(time.monotonic() - began, 1),
            }
        finally:
            os.chdir(home)


def table(results: Path) -> None:
    """Print a line for each kind, as Markdown."""
    print("| kind | studies | kills | jobs lost and granted anew | another finding | flaws |")
    print("|---|---|---|---|---|---|")
    rows = _read(results)
    for kind in (*KINDS, "real"):
        own = [row for row in rows if row["kind"] == kind]
        kills, lost = (sum(row[name] for row in own) for name in ("kills", "lost_jobs"))
        other = sum(not row["same"] for row in own)
        found = sum(len(row["flaws"]) for row in own)
        print(f"| {kind} | {len(own)} | {kills} | {lost} | {other} | {found} |")


def _read(results: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", results, kills, *kinds]:
            run(Path(results), int(kills), *kinds)
        case ["table", results]:
            table(Path(results))
        case _:
            sys.exit(__doc__)
