"""Plans, looks and accounts, listed. Tables over records of the ledger."""

from collections.abc import Iterator
from typing import Any

from configs.metrics import COSTS, METRICS
from evals.loss import FATE_WORDS
from loop.facts.scores import closing_scores, feedback_score
from loop.instruments.losses import read_plans
from loop.instruments.run import Run
from loop.report.evidence import Index
from loop.report.progress import name_flag, name_repeat
from loop.report.shape import Table, table
from loop.report.study import MeasuredStudy

GRANTS = "mandates and approvals"
"""Accounts of several runs that stand together."""
Row = tuple[Any, ...]


def list_closing(study: MeasuredStudy, index: Index, name: str) -> list[Table]:
    """Return every metric of each campaign's closing look, its baseline beside its champion.

    The study's champion has a table of its own, where there is a single run. Both tables are empty
    while the study runs.
    """
    best, others = list[Row](), list[Row]()
    best_ledger, other_ledger = list[str](), list[str]()
    for place, run in enumerate(study.runs if study.closed else ()):
        champion = study.summaries[place]["champion"]["plan"] if len(study.runs) == 1 else ""
        for arm, repeat in run.campaigns:
            look = run.finals.get((arm, repeat, "final"))
            own = champion in run.facts.champions[arm, repeat]
            rows, ledger = (best, best_ledger) if own else (others, other_ledger)
            campaign = f"{arm}, {name_repeat(study, place, repeat)}"
            for metric in _closing_metrics(run, look) if look else ():
                rows.append((campaign, *metric))
                ledger.append(index.of(f"verdicts of {arm}"))
    return [
        table("closing", best, best_ledger, name),
        table("closings", others, other_ledger, name),
    ]


def _closing_metrics(run: Run, look: str) -> Iterator[Row]:
    """Yield (metric, meaning, baseline, champion) of a closing look that was measured."""
    old, new = closing_scores(run.facts, look, run.config)
    if not old or not new:
        return
    for metric, kind in METRICS.items():
        if metric in old and metric in new:
            down = kind.better == "down" and metric not in COSTS
            way = ", lower is better" if down else ""
            yield metric, f"{kind.text}{way}", old[metric], new[metric]
    for part, value in old["slices"].items():
        if part in new["slices"]:
            yield f"slice {part}", "exact match", value, new["slices"][part]
    bits = old.get("slice_bits", {}), new.get("slice_bits", {})
    for part, value in bits[0].items():
        yield f"slice {part}", "bits, lower is better", value, bits[1][part]
    if bits[0]:
        worst = (max(side.values()) for side in bits)
        yield "worst slice", "highest bits over the task's slices, lower is better", *worst


def list_lineage(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return every plan with its parent and its fate."""
    rows, ledger = list[Row](), list[str]()
    for place, run in enumerate(study.runs):
        champions = {plan for plans in run.facts.champions.values() for plan in plans}
        for arm in dict.fromkeys(arm for arm, _ in run.campaigns):
            for repeat, generation, plan, parent, fate in _descent(run, arm):
                score = feedback_score(run.facts, plan, run.config.objective)
                rows.append(
                    (
                        arm,
                        name_repeat(study, place, repeat),
                        generation,
                        plan[:12],
                        parent[:12],
                        _fate(fate, plan in champions),
                        score,
                    )
                )
                ledger.append(index.plan(study.numbers[place], plan))
    return table("lineage", rows, ledger, name, unit=study.config.objective.scores_text())


def _descent(run: Run, arm: str) -> list[tuple[int, int, str, str, str]]:
    """Return (repeat, generation, plan, parent, fate) of an arm's baselines and plans."""
    baselines = [
        (repeat, 0, plans[0], "", "baseline")
        for (each, repeat), plans in sorted(run.facts.champions.items())
        if each == arm
    ]
    plans = [
        (p.repeat - run.base, p.generation, p.plan, run.facts.plans[p.plan].parent, p.fate)
        for p in read_plans(run, arm)
        if p.fate != "invalid"
    ]
    return [*baselines, *plans]


def _fate(fate: str, champion: bool) -> str:
    if fate != "baseline" and champion:
        return "accepted"
    return "accepted, not promoted" if fate == "accepted" else FATE_WORDS.get(fate, fate)


def list_accounts(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return charges and limits of the accounts, added up over the runs."""
    sums: dict[str, list[float]] = {}
    for summary in study.summaries:
        for account, cells in summary["accounts"].items():
            if account.startswith("look "):
                continue
            if account.startswith("grant:") and len(study.runs) > 1:
                account = GRANTS
            cpu, jobs = cells["cpu_us"], cells["jobs"]
            charge = (cpu["spent"] / 1e6, cpu["limit"] / 1e6, jobs["spent"], jobs["limit"])
            before = sums.get(account, [0, 0, 0, 0])
            sums[account] = [a + b for a, b in zip(before, charge, strict=True)]
    rows = [(account, *cells) for account, cells in sums.items()]
    return table("accounts", rows, index.of("settle"), name)


def list_looks(study: MeasuredStudy, index: Index, name: str) -> list[Table]:
    """Return the looks at held-out data, and the openings of sealed."""
    looks = []
    for split in study.summaries[0]["looks"]:
        cells = [summary["looks"][split] for summary in study.summaries]
        spent, limit = (sum(cell[side] for cell in cells) for side in ("spent", "limit"))
        looks.append((split, spent, limit))
    openings = [opening for summary in study.summaries for opening in summary["openings"]]
    opened = [
        (
            number,
            opening["plan"][:12],
            opening["champion"][:12],
            opening["metric"],
            opening["gain"],
            opening["low"],
            opening["high"],
            opening["replicates"],
            name_flag(opening),
        )
        for number, opening in enumerate(openings, 1)
    ]
    return [
        table("looks", looks, index.of("look") or index.of("account"), name),
        table("openings", opened, index.of("opening"), name),
    ]


def list_plans(study: MeasuredStudy, index: Index, name: str) -> Table:
    """Return every plan with its change, its feedback and its verdict."""
    rows, ledger = list[Row](), list[str]()
    for place, summary in enumerate(study.summaries):
        for generation in summary["generations"]:
            repeat = name_repeat(study, place, generation["repeat"])
            for plan in generation["plans"]:
                rows.append((generation["arm"], repeat, generation["index"], *_plan_row(plan)))
                ledger.append(index.plan(study.numbers[place], plan["id"]))
    return table("plans", rows, ledger, name, unit=study.config.objective.scores_text())


def _plan_row(plan: dict[str, Any]) -> Row:
    knobs = [f"{name}={_knob(value)}" for name, value in plan["change"]["knobs"].items()]
    return (
        plan["id"][:12],
        ", ".join(knobs) or plan["purpose"],
        plan["shown"],
        plan["verdict"],
        name_flag(plan),
        "; ".join(filter(None, [plan["denied"], *plan["failures"]])),
    )


def _knob(value: Any) -> str:
    """Return a knob's value; a float without the digits of its rounding error."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
