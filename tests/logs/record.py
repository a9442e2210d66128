"""Record the logs of this folder: `python tests/logs/record.py openevolve|shinka FOLDER`.

It needs openevolve 0.4.1 or shinka-evolve 0.0.7. Their own databases choose the parents, keep or
drop the programs and write the files. The proposals and scores are simulated: 60 % of changes have
no effect, the others one of 0.03, and each evaluation has noise of 0.01. `truth.json` holds the
true score of each program. The file is for Python alone with one of these packages, not for tests.
"""

import json
import os
import random
import sys
import types
from pathlib import Path

CODE = "def value():\n    return {}\n"
TRIALS, NOISE = 41, 0.01


def change(rng, true):
    """Return the true score of a changed program."""
    return true + (0.0 if rng.random() < 0.6 else rng.gauss(0, 0.03))


def record_openevolve(folder):
    """Write two checkpoints; every ninth program fails."""
    from openevolve.config import DatabaseConfig
    from openevolve.database import Program, ProgramDatabase

    rng, truth = random.Random(5), {"p0": 0.5}
    settings = DatabaseConfig(num_islands=2, population_size=40, random_seed=5)
    book = ProgramDatabase(settings)
    for i in range(TRIALS):
        parent = book.sample_from_island(i % 2)[0] if i else None
        true = change(rng, truth.get(parent.id, 0.5)) if parent else 0.5
        scores = {"combined_score": true + rng.gauss(0, NOISE)}
        program = Program(
            id=f"p{i}",
            code=CODE.format(true) + f"# {i}\n" * (i % 5),
            parent_id=parent.id if parent else None,
            generation=parent.generation + 1 if parent else 0,
            metrics=scores if i % 9 or not i else {"error": 0.0},
            metadata={"changes": f"change {i}"},
        )
        truth[program.id] = true
        book.add(program, iteration=i, target_island=i % 2)
        if i == 20:
            book.migrate_programs()
            book.save(f"{folder}/checkpoints/checkpoint_20", 20)
    book.save(f"{folder}/checkpoints/checkpoint_40", 40)
    return truth


def record_shinka(folder):
    """Write a database and end as a stopped run does: the newest rows are beside it."""
    # Neither embeddings nor models are asked; their clients need keys.
    for name in ("embed", "llm"):
        module = types.ModuleType(f"shinka.{name}")
        module.__getattr__ = lambda _: object
        sys.modules[module.__name__] = module
    from shinka.database.dbase import DatabaseConfig, Program, ProgramDatabase

    rng, truth, parents = random.Random(6), {}, []
    settings = DatabaseConfig(db_path=f"{folder}/programs.sqlite", num_islands=2, archive_size=10)
    book = ProgramDatabase(settings, embedding_model="")
    for i in range(TRIALS):
        parent = rng.choice(parents[-8:]) if parents else None
        true = change(rng, truth[parent]) if parent else 0.5
        correct = bool(i % 9) or not i
        program = Program(
            id=f"g{i}",
            code=CODE.format(true) + f"# {i}\n" * (i % 5),
            parent_id=parent,
            generation=i,
            timestamp=1.7e9 + 60 * i,
            combined_score=true + rng.gauss(0, NOISE) if correct else 0.0,
            correct=correct,
            metadata={"patch_name": f"patch_{i}"},
        )
        truth[program.id] = true
        parents += [program.id] * correct
        if i == 33:
            book.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        book.add(program)
    return truth


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(sys.argv[2])
    place.mkdir(parents=True)
    real = {"openevolve": record_openevolve, "shinka": record_shinka}[kind](place)
    (place / "truth.json").write_text(json.dumps(real))
    os._exit(0)
