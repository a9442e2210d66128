"""Loops that ran elsewhere, with a known truth, and their logs in the format of each tool."""

import csv
import io
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from configs.records.trials import Trial


@dataclass(frozen=True)
class Planted:
    """A greedy loop that was simulated, and what its log cannot show."""

    trials: tuple[Trial, ...]
    false: int
    "keeps that were no better than the champion that they replaced"
    keeps: int
    excess: float
    "logged less true score of the last champion"
    left: float
    "true gain of the last champion over the first"


WORLDS = {
    "no effect": lambda rng: 0.0,
    "mostly harm": lambda rng: 0.0 if rng.random() < 0.3 else rng.normal(-1.5, 1),
    "zeros and gains": lambda rng: 0.0 if rng.random() < 0.7 else rng.normal(0, 2),
    "small effects": lambda rng: rng.normal(0, 0.5),
    "many gains": lambda rng: rng.normal(0.2, 1),
}
"""Effects of a proposal over its champion, in deviations of the noise."""


def plant(world, seed, trials=80, noise=1.0, start=0.0):
    """Play a greedy loop on a world; larger is better."""
    rng = np.random.default_rng(seed)
    true, logged = start, start + noise * rng.normal()
    rows = [Trial(name="t0", score=logged, kept=True, content="c0", text="baseline")]
    false = keeps = 0
    for i in range(1, trials):
        aim = true + noise * WORLDS[world](rng)
        score = aim + noise * rng.normal()
        kept = score > logged
        rows.append(
            Trial(name=f"t{i}", score=score, kept=kept, content=f"c{i}", text=f"change {i}")
        )
        if kept:
            keeps, false = keeps + 1, false + (aim <= true)
            true, logged = aim, score
    return Planted(
        trials=tuple(rows), false=false, keeps=keeps, excess=logged - true, left=true - start
    )


def commit(i):
    """Return a short commit of autoresearch."""
    return f"{0xA00000 + i:07x}"


def write_autoresearch(trials, place):
    """Write a results.tsv, where smaller is better."""
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for i, trial in enumerate(trials):
        status = "keep" if trial.kept else "discard"
        lines.append(f"{commit(i)}\t{2 - trial.score:.6f}\t44.0\t{status}\t{trial.text}")
    place.write_text("\n".join(lines) + "\n")
    return place


def write_csv(trials, place):
    """Write a CSV of trials."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["trial", "score", "kept", "content", "dataset", "description"])
    for t in trials:
        rows.writerow([t.name, repr(t.score), str(t.kept).lower(), t.content, "dev", t.text])
    place.write_text(file.getvalue())
    return place


def write_openevolve(trials, place, last=None):
    """Write a checkpoint of OpenEvolve: it records no decision."""
    (place / "programs").mkdir(parents=True)
    for i, trial in enumerate(trials):
        program = {
            "id": trial.name,
            "code": f"value = {i}\n" if not trial.content else trial.content,
            "changes_description": "",
            "language": "python",
            "parent_id": None if i == 0 else "t0",
            "generation": min(i, 1),
            "timestamp": 1.7e9 + i,
            "iteration_found": i,
            "metrics": {"combined_score": trial.score, "speed": 3.0},
            "metadata": {"island": 0, "changes": trial.text},
        }
        (place / "programs" / f"{trial.name}.json").write_text(json.dumps(program))
    head = {"islands": [[]], "archive": [], "best_program_id": "t0"}
    head["last_iteration"] = len(trials) - 1 if last is None else last
    (place / "metadata.json").write_text(json.dumps(head))
    return place


SHINKA = """
CREATE TABLE programs (id TEXT PRIMARY KEY, code TEXT NOT NULL, language TEXT NOT NULL,
parent_id TEXT, generation INTEGER NOT NULL, timestamp REAL NOT NULL, combined_score REAL,
public_metrics TEXT, correct BOOLEAN DEFAULT 0, metadata TEXT, island_idx INTEGER)
"""


def write_shinka(trials, place):
    """Write a database of ShinkaEvolve: it records no decision."""
    with closing(sqlite3.connect(place)) as book, book:
        book.execute(SHINKA)
        for i, t in enumerate(trials):
            metadata = json.dumps({"patch_name": t.text})
            row = (t.name, t.content, "python", None, i, 1.7e9 + i, t.score, "{}", 1, metadata, 0)
            book.execute(f"INSERT INTO programs VALUES ({', '.join('?' * len(row))})", row)
    return place


def write_runs(trials, place):
    """Write the table of runs that W&B's page exports, newest first."""
    file = io.StringIO()
    rows = csv.writer(file, quoting=csv.QUOTE_ALL)
    rows.writerow(["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "eval/acc"])
    for i, t in reversed(list(enumerate(trials))):
        time = f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00.000Z"
        rows.writerow([t.name, "finished", t.text, "ada", "", time, "60", repr(t.score)])
    place.write_text(file.getvalue())
    return place


def write_api(trials, place):
    """Write runs as W&B's documented program for exports does: a summary and a config each."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["", "summary", "config", "name"])
    for i, t in enumerate(trials):
        summary = {"_timestamp": 1.7e9 + i, "_step": 9, "acc": t.score}
        rows.writerow([i, str(summary), str({"change": t.content, "seed": i}), t.name])
    place.write_text(file.getvalue())
    return place


WRITERS = {
    "autoresearch": write_autoresearch,
    "csv": write_csv,
    "openevolve": write_openevolve,
    "shinka": write_shinka,
    "wandb": write_runs,
    "wandb, by program": write_api,
}
"""Format of a log -> function that writes it."""


def run_git(place, *words):
    """Run git in a folder, with no settings of this user."""
    quiet = {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": os.environ["PATH"],
    }
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *who, *words], cwd=place, env=quiet, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write_history(trials, place, pack=()):
    """Write a results.tsv of autoresearch beside its history: a dropped trial is reset away.

    After the trials numbered in `pack` all objects are packed.
    """
    place.mkdir()
    run_git(place, "init", "-q")
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    text = "".join(f"line {i} of a program that is long enough for deltas\n" for i in range(80))
    for i, trial in enumerate(trials):
        (place / "train.py").write_text(text + f"# {trial.content}\n")
        run_git(place, "add", "train.py")
        run_git(place, "commit", "-q", "--allow-empty", "-m", trial.text)
        name = run_git(place, "rev-parse", "--short=7", "HEAD")
        status = "keep" if trial.kept else "discard"
        lines.append(f"{name}\t{2 - trial.score:.6f}\t44.0\t{status}\t{trial.text}")
        if not trial.kept:
            run_git(place, "reset", "-q", "--hard", "HEAD~1")
        if i in pack:
            run_git(place, "repack", "-q", "-a", "-d", "--keep-unreachable", "-f", "--depth=20")
    (place / "results.tsv").write_text("\n".join(lines) + "\n")
    return place


def plant_example():
    """Return the loop behind docs/examples/results.tsv."""
    return plant("zeros and gains", [21, 9], trials=84, noise=0.0006, start=1.0021)


def write_example(folder):
    """Write docs/examples/results.tsv, with two crashes, and baseline.txt, with eight repeats."""
    log = write_autoresearch(plant_example().trials, folder / "results.tsv")
    lines = log.read_text().splitlines()
    for place in (31, 58):
        lines.insert(place, f"{commit(900 + place)}\t0.000000\t0.0\tcrash\tchange that ran out")
    log.write_text("\n".join(lines) + "\n")
    scores = np.random.default_rng(21).normal(2 - 1.0021, 0.0006, 8)
    (folder / "baseline.txt").write_text("".join(f"{score:.6f}\n" for score in scores))
