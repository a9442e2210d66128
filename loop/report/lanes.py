"""What did the workers do, second by second? Lanes of workers, in section `happened`.

The ledger does not name the worker of a job: lanes are filled in the order in which replicates
began, each in the first lane that is free.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from loop.facts.stages import STAGES, WORK, Timed, read_candidates, read_work
from loop.report.evidence import Index
from loop.report.plot import COLOURS, Rows, add_legend, new_figure
from loop.report.shape import Line, Table, table
from loop.report.study import StudyRuns

MOST_SPANS = 900
"""Spans of the table and the figure, the longest first."""
MOST_LANES = 24
"""Lanes of the figure; the table has all."""
NEAR = 0.0015
"""Seconds by which spans may overlap: times of entries are in milliseconds."""


def describe_stages(study: StudyRuns, index: Index) -> Iterator[Line]:
    """Yield the share of each stage in the candidates' seconds, and of what is unaccounted."""
    seconds = [one for run in study.runs for one in read_candidates(run.entries).values()]
    whole = sum(sum(one.values()) for one in seconds)
    if not whole:
        return
    shares = {
        stage: sum(one[stage] for one in seconds) / whole for stage in (*STAGES, "unaccounted")
    }
    told = ", ".join(f"{stage} {share:.1%}" for stage, share in shares.items())
    text = f"From its proposal to its score a candidate took {whole / len(seconds):.2f} s: {told}."
    yield Line(text=text, ledger=index.of("job"))


def list_lanes(study: StudyRuns, index: Index, name: str) -> Table:
    """Return the spans of the workers of each run."""
    rows = list[tuple[Any, ...]]()
    for place, run in enumerate(study.runs):
        rows += _list_spans(study.folders[place].name, read_work(run.entries))
    longest = sorted(rows, key=lambda row: row[3] - row[4])[:MOST_SPANS]
    ordered = sorted(longest, key=lambda row: (row[0], row[1], row[3]))
    return table("lanes", ordered, index.of("job"), name)


def _list_spans(run: str, work: Sequence[Timed]) -> Iterator[tuple[Any, ...]]:
    """Yield (run, worker, stage, from, to, plan): each replicate in the first lane that is free."""
    free = list[float]()
    for one in sorted((one for one in work if one.spans), key=lambda one: one.spans[0][1]):
        begin, end = one.spans[0][1], one.spans[-1][2]
        lane = next((n for n, at in enumerate(free) if at <= begin + NEAR), len(free))
        free[lane : lane + 1] = [end]
        for stage, since, until in one.spans:
            yield run, lane + 1, stage, round(since, 3), round(until, 3), one.plan[:8]


def draw_lanes(_unit: str, _arms: Sequence[str], rows: Rows) -> Any:
    """Draw each worker's stages over time."""
    if not rows:
        return None
    lanes = list(dict.fromkeys(row[:2] for row in rows))[:MOST_LANES]
    runs = {lane[0] for lane in lanes}
    figure, axis = new_figure(1.1 + 0.28 * len(lanes))
    for number, stage in enumerate(WORK):
        bars = [row for row in rows if row[2] == stage and row[:2] in lanes]
        axis.barh(
            [lanes.index(row[:2]) for row in bars],
            [row[4] - row[3] for row in bars],
            left=[row[3] for row in bars],
            height=0.7,
            color=COLOURS[number],
            linewidth=0,
            label=stage if bars else None,
        )
    names = [f"{run}, {lane}" if len(runs) > 1 else f"worker {lane}" for run, lane in lanes]
    axis.set(
        xlabel="seconds since the study began",
        yticks=range(len(lanes)),
        yticklabels=names,
        ylim=(len(lanes) - 0.5, -0.5),
    )
    axis.tick_params(axis="y", length=0)
    return add_legend(figure, axis, columns=len(WORK))
