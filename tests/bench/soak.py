"""Play studies under faults for hours, and tell what grows: memory, disk, open files, clocks.

    P tests/bench/soak.py run RESULTS.jsonl HOURS    goes on where it stopped
    P tests/bench/soak.py show RESULTS.jsonl         a line for each figure: first, last, slope

P is .venv/bin/python, with the checkout in PYTHONPATH. One process plays one planted study after
another, each with every fault of `faults=production` and a seed of its own, and verifies it at its
end. A row is written after each, and the study's folder is removed unless it has a flaw. Killed,
the same command goes on with the study that it was at, in a new process; slopes of memory and files
are told within a process. Runs and user's folder lie beside RESULTS, in RESULTS.runs. It ends with
1 if a study has a flaw.
"""

import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crashes import entries, flaws, folder_of  # noqa: E402
from studies import mandate  # noqa: E402

from configs.settings.config import Config  # noqa: E402
from loop import session  # noqa: E402
from loop.settings import compose_settings  # noqa: E402
from loop.study.open import release_locks  # noqa: E402

MIB = 2**20
SLOPES = {
    "rss_mib": "MiB",
    "open_files": "files",
    "study_mib": "MiB",
    "home_mib": "MiB",
    "clock_ms": "ms",
}
"""Figure of a row whose slope is told -> its unit."""


def run(results: Path, hours: float) -> None:
    """Add rows until the studies of all processes together have taken so many hours."""
    folder, process = results.with_suffix(".runs").resolve(), f"{os.getpid()} at {int(time.time())}"
    os.environ["HEIRLOOP_HOME"] = str(folder / "home")
    rows = _read(results)
    while sum(row["seconds"] for row in rows) < hours * 3600:
        rows.append({"process": process, **_play(folder, len(rows) + 1)})
        with results.open("a") as file:
            file.write(json.dumps(rows[-1], sort_keys=True) + "\n")
        print(rows[-1], flush=True)
    if any(row["flaws"] for row in rows):
        sys.exit(1)


def compose(folder: Path, seed: int) -> Config:
    """Return a study of a few seconds with every fault."""
    shape = {"repeats": 1, "generations": 3, "proposals": 2, "final_replicates": 4}
    return compose_settings(
        [
            "study=production-v1",
            f"study.name=soak-{seed}",
            f"study.seed={seed}",
            *(f"study.{name}={count}" for name, count in shape.items()),
            "study.arms=[self,random]",
            "study.plan_trainings=70",
            "study.claims=[]",
            f"runs='{folder}'",
        ]
    )


def _play(folder: Path, seed: int) -> dict[str, Any]:
    """Return the row of a study, played to its end and verified; it may have begun before."""
    began, cfg, cpu = time.monotonic(), compose(folder, seed), time.process_time()
    mandate(cfg)
    try:
        assert session.execute(cfg)["finished"]
        cpu = time.process_time() - cpu
        found, lines = flaws(cfg), entries(cfg)
    finally:
        release_locks()
    gc.collect()
    own = folder_of(cfg)
    row = {
        "seed": seed,
        "seconds": round(time.monotonic() - began, 2),
        "entries": len(lines),
        "entries_per_cpu_second": round(len(lines) / cpu, 1),
        "faults": sum(line.kind == "fault" for line in lines),
        "flaws": found,
        "rss_mib": round(_resident() / MIB, 2),
        "open_files": len(os.listdir("/proc/self/fd")),
        "study_mib": round(_size_of(own) / MIB, 3),
        "home_mib": round(_size_of(folder / "home") / MIB, 3),
        "wall_clock_less_monotonic": time.time() - time.monotonic(),
    }
    if not found:
        shutil.rmtree(own)
    return row


def _resident() -> int:
    """Return the resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(results: Path) -> None:
    """Print a line for each figure, as Markdown, and what verification said."""
    rows = _read(results)
    for row in rows:
        apart = row["wall_clock_less_monotonic"] - rows[0]["wall_clock_less_monotonic"]
        row["clock_ms"] = 1000 * apart
    hours = np.cumsum([row["seconds"] for row in rows]) / 3600
    print("| figure | first | last | slope an hour |\n|---|---|---|---|")
    for name, unit in SLOPES.items():
        whole = name in ("study_mib", "home_mib", "clock_ms")  # they go on from process to process
        slope = _slope(rows, hours, name, "" if whole else "process")
        told = "cannot tell" if slope is None else f"{slope:+.3g} {unit}"
        print(f"| {name} | {rows[0][name]:.4g} | {rows[-1][name]:.4g} | {told} |")
    quarter = max(1, len(rows) // 4)
    for name in ("entries_per_cpu_second", "seconds"):
        ends = [np.mean([row[name] for row in part]) for part in (rows[:quarter], rows[-quarter:])]
        print(f"| {name}, first and last quarter | {ends[0]:.4g} | {ends[1]:.4g} | |")
    flawed = [row["seed"] for row in rows if row["flaws"]]
    print(
        f"\n{len(rows)} studies in {len({row['process'] for row in rows})} processes,"
        f" {hours[-1]:.2f} hours, {sum(row['entries'] for row in rows)} entries,"
        f" {sum(row['faults'] for row in rows)} faults;"
        f" each verified at its end; with a flaw: {flawed or 'none'}"
    )


def _slope(rows: Sequence[dict[str, Any]], hours: Any, name: str, within: str) -> float | None:
    """Return the least-squares slope an hour, within each process where `within` names one.

    None under three rows. The first study of a process warms its caches and is left out.
    """
    centred: tuple[list[float], list[float]] = ([], [])
    for group in {row[within] if within else "" for row in rows}:
        own = [i for i, row in enumerate(rows) if not within or row[within] == group]
        own = own[1:] if within else own
        times, values = hours[own], np.array([rows[i][name] for i in own])
        if len(own) >= 3:
            centred[0].extend(times - times.mean())
            centred[1].extend(values - values.mean())
    x, y = map(np.array, centred)
    return float((x * y).sum() / (x * x).sum()) if len(x) else None


def _read(results: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", results, hours]:
            run(Path(results), float(hours))
        case ["show", results]:
            show(Path(results))
        case _:
            sys.exit(__doc__)
