"""The report's figures and tables of what happened. Before a study has ended nothing of gate is
among them; feedback is rounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from configs.arms import MORE, START
from configs.objective import METRICS
from evals.arms import common, curves
from evals.intervals import mean
from evals.loss import UNIT, calibration, rungs
from loop.facts.summary import feedback
from loop.instruments.gather import Run
from loop.instruments.measure import WITHOUT
from loop.report.evidence import Index
from loop.report.oversight import incidents, oversight
from loop.report.shape import Line, Table, table
from loop.report.study import Read, Told

BURN_POINTS = 400
"""Points of a burn-down; it is straight between two of them."""
STOOD_IN = "were reviewers people"
"""Of an arm: what its figures would be, had the simulated reviewers who decided been people."""
BUDGETS = 12
"""Budgets at which gains are drawn."""
Rows = Iterable[tuple[Any, ...]]


def happened(told: Told, index: Index, name: str) -> tuple[list[Line], list[Table]]:
    """Return the section's sentences and tables of one study."""
    opened = sum(s["looks"]["sealed"]["spent"] for s in told.summaries)
    lines = [
        Line(text=_pace(told), ledger=index.of("decision")),
        Line(
            text=f"Sealed was opened {opened} times.",
            ledger=index.of("opening") or index.of("account"),
        ),
    ]
    if not told.closed:
        lines.append(
            Line(
                text=(
                    "The study has not ended: of the held-out data only rounded feedback scores are"
                    " told."
                ),
                warn=True,
            )
        )

    def by_arm(what: str, rows: Rows, of: str, unit: str = "") -> Table:
        kept = list(rows)
        return table(
            what,
            kept,
            [
                "" if row[0].startswith("beside: ") else index.arm(row[0].split(",")[0], of)
                for row in kept
            ],
            name,
            unit=unit,
        )

    goal, told_in = told.config.objective, unit(told)
    scale = "log-odds" if METRICS[goal.metric].share else told_in

    return lines, [
        by_arm("arms", _campaigns(told), "verdicts"),
        by_arm("scores", _scores(told), "scores", goal.metric),
        by_arm("trials", _trials(told), "scores", goal.metric),
        by_arm("gains", _gains(told), "verdicts", scale),
        _closing(told, index, name),
        _lineage(told, index, name),
        _burn(told, index, name),
        _accounts(told, index, name),
        by_arm(
            "funnel", _listed(told, "funnel", ("fate", "plans", "share", "cpu_seconds")), "plans"
        ),
        by_arm(
            "promise",
            _named(told, "promise", lambda one: bool(one["value"] or one["low"] or one["high"])),
            "plans",
            told_in,
        ),
        by_arm("rungs", _rungs(told), "verdicts", scale),
        by_arm("retention", _named(told, "retention"), "verdicts"),
        by_arm("automation", _automation(told), "decisions"),
        by_arm("stages", _stages(told), "decisions"),
        by_arm("efficiency", _efficiency(told), "plans"),
        by_arm("calibration", _promised(told), "verdicts", told_in),
        *oversight(told, index, name),
        *_looks(told, index, name),
        incidents(told, index, name),
        _plans(told, index, name),
    ]


def unit(told: Read) -> str:
    """Return the objective's unit in words."""
    goal = told.config.objective
    return f"log-odds of {goal.metric}" if goal.scale == "log_odds" else goal.metric


def live(told: Read, what: str) -> list[Table]:
    """Return the tables of figure `scores` or `burn` of a run that goes on."""
    metric = told.config.objective.metric
    if what == "burn":
        return [_burn(told, None, "")]
    return [
        table("scores", _scores(told), "", unit=metric),
        table("trials", _trials(told), "", unit=metric),
    ]


def interval(told: Read, one: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a figure of the instruments as the columns INTERVAL, the objective's unit by its
    name.
    """
    return (
        *(one[n] for n in ("value", "low", "high", "n")),
        str(one["unit"]).replace(UNIT, unit(told)),
        one["word"],
    )


def _pace(told: Told) -> str:
    runs, s = told.runs, told.summaries
    plans = sum(plan.purpose == "candidate" for run in runs for plan in run.facts.plans.values())
    accepted = sum(a["accepted"] for one in s for a in one["arms"] if a["arm"] != START)
    return (
        f"{sum(run.facts.closed for run in runs)} of {len(runs)} runs ended; {plans} proposals"
        f" became plans, {accepted} were accepted; {sum(one['jobs'] for one in s)} jobs,"
        f" {sum(one['wall_seconds'] for one in s):.0f} s,"
        f" {sum(one['oversight']['incidents'] for one in s)} incidents."
    )


def _listed(told: Told, what: str, keys: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    yield from (
        (arm, *(row[k] for k in keys))
        for arm, found in told.figures["arms"].items()
        for row in found[what]
    )


def _stages(told: Told) -> Iterator[tuple[Any, ...]]:
    yield from _listed(told, "stages", ("stage", "who", "controlled by"))
    yield from (
        (arm, "stage of development", found["stage"], "")
        for arm, found in told.figures["arms"].items()
    )
    yield from (
        (arm, f"stage of development, {STOOD_IN}", found[STOOD_IN]["stage"], "")
        for arm, found in told.figures["arms"].items()
        if STOOD_IN in found
    )


def _named(
    told: Told, what: str, keep: Callable[[Any], bool] = lambda one: True
) -> Iterator[tuple[Any, ...]]:
    yield from (
        (arm, part, *interval(told, one))
        for arm, found in told.figures["arms"].items()
        for part, one in found[what].items()
        if keep(one)
    )


def _efficiency(told: Told) -> Iterator[tuple[Any, ...]]:
    for arm, found in told.figures["arms"].items():
        for suffix in ("", WITHOUT):
            rows = {**found[f"efficiency{suffix}"], "gain per CPU-second": found[f"yield{suffix}"]}
            yield from (
                (arm, f"{part}{suffix}", *interval(told, one)) for part, one in rows.items()
            )


def _automation(told: Told) -> Iterator[tuple[Any, ...]]:
    yield from _named(told, "automation")
    yield from (
        (f"{arm}, {STOOD_IN}", stage, *interval(told, one))
        for arm, found in told.figures["arms"].items()
        if STOOD_IN in found
        for stage, one in found[STOOD_IN]["automation"].items()
    )
    for other, vector in told.figures["beside"].items() if told.figures["arms"] else ():
        yield from (
            (f"beside: {other}", stage, *interval(told, one)) for stage, one in vector.items()
        )


def _each(told: Read) -> Iterator[tuple[int, Run, str, int]]:
    """Yield (number of the run among the study's, run, arm, repeat) of every campaign."""
    yield from (
        (at, run, arm, repeat) for at, run in enumerate(told.runs) for arm, repeat in run.campaigns
    )


def repeat_of(told: Read, at: int, repeat: int) -> str | int:
    """Return what a repeat is called: its number, with the run's folder where there are several."""
    return repeat if len(told.runs) == 1 else f"{told.folders[at].name}, {repeat}"


def _campaigns(told: Told) -> Iterator[tuple[Any, ...]]:
    for at, s in enumerate(told.summaries):
        for a in s["arms"]:
            gate = (
                a["gate"]
                if told.closed and a["gate"] and a["gate"]["gain"] is not None
                else {"gain": None, "low": None, "high": None}
            )
            yield (
                a["arm"],
                repeat_of(told, at, a["repeat"]),
                a["accepted"],
                a["feedback"]["baseline"],
                a["feedback"]["champion"],
                gate["gain"],
                gate["low"],
                gate["high"],
                flag(a),
                a["skill"]["rank_correlation"],
                a["skill"]["claims"],
            )


def flag(row: Mapping[str, Any]) -> str:
    """Return the flag of a plan or campaign."""
    return "computable" if row["computable"] else ""


def _scores(told: Read) -> Iterator[tuple[Any, ...]]:
    """Yield the champion's mean score per arm and generation, with its interval over repeats."""
    found: dict[tuple[str, int], list[float]] = {}
    last: dict[tuple[int, str, int], int] = {}
    for at, run in enumerate(told.runs):
        for arm, repeat, generation, _ in run.facts.at:
            last[at, arm, repeat] = min(
                max(generation, last.get((at, arm, repeat), 0)), run.config.study.generations
            )
    for at, run, arm, repeat in _each(told):
        facts, best = run.facts, None
        then = {
            facts.plans[plan].generation: feedback(facts, plan, run.config.objective)
            for plan in facts.champions[arm, repeat]
        }
        for generation in range(last.get((at, arm, repeat), 0) + 1):
            best = then.get(generation, best)
            if best is not None:
                found.setdefault((arm, generation), []).append(best)
    for (arm, generation), values in sorted(found.items()):
        one = mean(values, "", neutral=None)
        yield arm, generation, one.value, one.low, one.high, len(values)


def _trials(told: Read) -> Iterator[tuple[Any, ...]]:
    for at, s in enumerate(told.summaries):
        yield from (
            (g["arm"], repeat_of(told, at, g["repeat"]), g["index"], p["shown"])
            for g in s["generations"]
            for p in g["plans"]
            if p["shown"] is not None and p["purpose"] in ("start", "baseline", "candidate")
        )


def _gains(told: Told) -> Iterator[tuple[Any, ...]]:
    """Yield each arm's mean verified gain at the same budgets for all, up to the equal plan, every
    repeat counted at each.
    """
    arms = curves(told.records.gains)
    most = {
        arm: (
            told.figures["equal plan, CPU-seconds"]
            if arm not in MORE
            else common(arms, (arm,)) / 1e6
        )
        for arm in arms
    }
    for arm, curve in arms.items():
        for step in range(1, BUDGETS + 1):
            one = mean(curve.at(most[arm] * 1e6 * step / BUDGETS), "", neutral=None)
            if one.value is not None:
                yield arm, most[arm] * step / BUDGETS, one.value, one.low, one.high, one.n


def _rungs(told: Told) -> Iterator[tuple[Any, ...]]:
    for arm, held in told.records.held.items():
        for rung, values in rungs(held).items():
            one = mean(values, "", neutral=None)
            if one.value is not None:
                yield arm, rung, one.value, one.low, one.high, one.n


def _promised(told: Told) -> Iterator[tuple[Any, ...]]:
    for arm, plans in told.records.plans.items() if told.closed else ():
        known = [
            p
            for p in plans
            if p.fate == "accepted" and p.promised is not None and p.corrected is not None
        ]
        yield from (
            (arm, one.plan[:12], *pair)
            for one, pair in zip(known, calibration(plans)[0], strict=True)
        )


def _closing(told: Told, index: Index, name: str) -> Table:
    """Return every metric of the closing looks at gate, baseline beside champion; nothing before
    there was one, or of several runs.
    """
    s = told.summaries[0]
    sides = [s[who]["scores"].get("gate") for who in ("baseline", "champion")]
    if len(told.runs) > 1 or not told.closed or not all(sides):
        return table("closing", [], "", name)
    rows = [
        (n, METRICS[n].text, *(side[n] for side in sides))
        for n in METRICS
        if n in sides[0] and n in sides[1]
    ]
    rows += [
        (f"slice {n}", "exact match", *(side["slices"][n] for side in sides))
        for n in sides[0]["slices"]
        if n in sides[1]["slices"]
    ]
    return table("closing", rows, index.of(f"verdicts of {s['champion']['arm']}"), name)


def _lineage(told: Told, index: Index, name: str) -> Table:
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for at, run in enumerate(told.runs):
        champions = {plan for names in run.facts.champions.values() for plan in names}
        for arm in dict.fromkeys(arm for arm, _ in run.campaigns):
            base = [
                (repeat, 0, names[0], "", "baseline")
                for (a, repeat), names in sorted(run.facts.champions.items())
                if a == arm
            ]
            tried = [
                (p.repeat - run.base, p.generation, p.plan, run.facts.plans[p.plan].parent, p.fate)
                for p in run.plans(arm)
                if p.fate != "invalid"
            ]
            for repeat, generation, plan, parent, fate in (*base, *tried):
                fate = (
                    "accepted"
                    if fate != "baseline" and plan in champions
                    else "accepted, not promoted"
                    if fate == "accepted"
                    else fate
                )
                score = feedback(run.facts, plan, run.config.objective)
                rows.append(
                    (
                        arm,
                        repeat_of(told, at, repeat),
                        generation,
                        plan[:12],
                        parent[:12],
                        fate,
                        score,
                    )
                )
                ledger.append(index.plan(told.numbers[at], plan))
    return table("lineage", rows, ledger, name)


def _burn(told: Read, index: Index | None, name: str) -> Table:
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for number, folder, run, s in zip(
        told.numbers, told.folders, told.runs, told.summaries, strict=True
    ):
        left, line = s["accounts"]["root"]["cpu_us"]["limit"], list[tuple[int, int]]()
        for e in run.entries:
            if e.kind == "settle" and "root" in e.body["accounts"]:
                left -= e.body["spent"]["cpu_us"]
                line.append((e.sequence, left))
        step = -(-len(line) // BURN_POINTS) or 1
        kept = [
            (folder.name, at, left / 1e6)
            for at, left in (*line[:1], *line[step - 1 :: step], *line[-1:])
        ]
        rows += dict.fromkeys(kept)
        ledger += [index.of("settle", number) if index else ""] * (len(rows) - len(ledger))
    return table("burn", rows, ledger, name)


def _accounts(told: Told, index: Index, name: str) -> Table:
    found: dict[str, list[float]] = {}
    for s in told.summaries:
        for account, cells in s["accounts"].items():
            kept = (
                account
                if not account.startswith("grant:") or len(told.runs) == 1
                else "mandates and approvals"
            )
            if not account.startswith("look "):
                cpu, jobs = cells["cpu_us"], cells["jobs"]
                add = (cpu["spent"] / 1e6, cpu["limit"] / 1e6, jobs["spent"], jobs["limit"])
                found[kept] = [
                    a + b for a, b in zip(found.get(kept, [0, 0, 0, 0]), add, strict=True)
                ]
    return table(
        "accounts",
        [(account, *cells) for account, cells in found.items()],
        index.of("settle"),
        name,
    )


def _looks(told: Told, index: Index, name: str) -> list[Table]:
    looks = [
        (
            split,
            sum(s["looks"][split]["spent"] for s in told.summaries),
            sum(s["looks"][split]["limit"] for s in told.summaries),
        )
        for split in told.summaries[0]["looks"]
    ]
    opened = [
        (
            at,
            o["plan"][:12],
            o["champion"][:12],
            o["metric"],
            o["gain"],
            o["low"],
            o["high"],
            o["replicates"],
            flag(o),
        )
        for at, o in enumerate((o for s in told.summaries for o in s["openings"]), 1)
    ]
    return [
        table("looks", looks, index.of("look") or index.of("account"), name),
        table("openings", opened, index.of("opening"), name),
    ]


def _plans(told: Told, index: Index, name: str) -> Table:
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for at, s in enumerate(told.summaries):
        for g in s["generations"]:
            for p in g["plans"]:
                knobs = (
                    ", ".join(f"{k}={v}" for k, v in p["change"]["knobs"].items()) or p["purpose"]
                )
                rows.append(
                    (
                        g["arm"],
                        repeat_of(told, at, g["repeat"]),
                        g["index"],
                        p["id"][:12],
                        knobs,
                        p["shown"],
                        p["verdict"],
                        flag(p),
                        "; ".join(p["failures"]),
                    )
                )
                ledger.append(index.plan(told.numbers[at], p["id"]))
    return table("plans", rows, ledger, name)
