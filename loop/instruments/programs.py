"""How the best program of an archive did beside the first, where no selection looked."""

import math
from collections.abc import Iterator

from configs.arms import PROGRAM_CELLS
from configs.entries import ProgramEntry
from evals.programs import Compared, find_best
from loop.instruments.gains import list_worths, read_asks_at
from loop.instruments.run import Run
from loop.propose.programs.child import list_programs


def read_compared(run: Run, arm: str) -> Iterator[Compared]:
    """Yield the comparison of each campaign of an arm that ended.

    An unusable proposal counts with the objective's floor less its parent's score. NaN where either
    program was not measured.
    """
    for key in sorted(run.facts.ended):
        entries = run.facts.selecting.programs.get(key, [])
        if key[0] != arm or not entries:
            continue
        best = find_best(list_programs(run.facts, key))
        children = [one for one in entries if one.generation and one.asked]
        yield Compared(
            repeat=run.base + key[1],
            gain=_find_gain(run, arm, key[1]) if best else 0.0,
            promised=_promise(entries, best),
            programs=sum(one.asked > 0 for one in entries),
            usable=sum(one.usable for one in children) / max(1, sum(c.asked for c in children)),
        )


def _promise(entries: list[ProgramEntry], best: int) -> float:
    skills = [entries[number].skill for number in (best, 0)]
    return math.nan if skills[0] is None or skills[1] is None else skills[0] - skills[1]


def _find_gain(run: Run, arm: str, repeat: int) -> float:
    """Return the skill of the best program less that of the first."""
    means = list[float]()
    for number in range(len(PROGRAM_CELLS)):
        worths = [
            worth
            for proposals in read_asks_at(run, arm, repeat, number)
            for worth in list_worths(run, arm, repeat, proposals)
            if math.isfinite(worth)
        ]
        means.append(math.fsum(worths) / len(worths) if worths else math.nan)
    return means[0] - means[1]
