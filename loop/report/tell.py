"""The whole report, and its sections of words and rules: what was asked, what was allowed, how it
was done and what deviated from it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from configs.build import plain
from configs.errors import BudgetExhausted, VerificationFailed
from configs.records import Entry
from configs.settings.task import SIMULATED
from loop.instruments.measure import WITHOUT
from loop.people.shown import differing, own_files
from loop.report.believed import believed
from loop.report.evidence import Index
from loop.report.happened import happened, interval
from loop.report.shape import Line, Report, Section, Table, table
from loop.report.study import Told, differs
from sandbox.store import Store

RESOURCES: dict[str, tuple[str, float]] = {
    "cpu_us": ("CPU-seconds", 1e6),
    "wall_us": ("wall seconds of jobs", 1e6),
    "jobs": ("jobs", 1),
    "output_bytes": ("MiB", 2**20),
    "tokens": ("tokens", 1),
    "money_micros": ("units of money", 1e6),
    "looks": ("looks", 1),
}
"""Resource -> its unit on the page, and what one unit is."""
ENDINGS: dict[int, str] = {
    BudgetExhausted.exit_code: "a limit of the budget ended it",
    3: "it waited for people",
    5: "it was paused or stopped",
    VerificationFailed.exit_code: "it found broken records",
}


def report(studies: Sequence[Told]) -> Report:
    """Return the whole report of one or more studies."""
    index = Index(
        [
            run
            for _, run in sorted(
                (n, run) for told in studies for n, run in zip(told.numbers, told.runs, strict=True)
            )
        ]
    )
    many = len(studies) > 1
    made: dict[str, tuple[list[tuple[str, Line]], list[Table]]] = {}
    if many:
        heads = ("setting", *(told.name for told in studies))
        made["asked"] = ([], [table("differs", differs(studies), index.of("study"), columns=heads)])
    for told in studies:
        name = told.name if many else ""
        for section, (lines, tables) in _sections(told, index, name).items():
            kept = made.setdefault(section, ([], []))
            kept[0].extend((name, one) for one in lines)
            kept[1].extend(tables)
    if many:
        made["happened"][1].append(table("budgets", _budgets(studies), index.of("settle")))
    title = (
        f"Study {studies[0].name}"
        if not many and len(studies[0].runs) == 1
        else (
            f"Study {studies[0].name}, {len(studies[0].runs)} runs"
            if not many
            else f"{len(studies)} studies side by side"
        )
    )
    sections = tuple(
        Section(
            name=name,
            lines=tuple(_once(lines, len(studies))),
            tables=tuple(t for t in tables if t.rows),
        )
        for name, (lines, tables) in made.items()
    )
    return Report(
        title=title,
        studies=tuple(told.name for told in studies),
        sections=sections,
        evidence=index.cited,
        instruments={told.name: told.figures for told in studies},
    )


def _budgets(studies: Sequence[Told]) -> Iterator[tuple[Any, ...]]:
    """Yield E of every arm, studies by what a campaign had spent; nothing where gains have no
    common unit or budgets do not differ.
    """
    spent = {told.name: told.figures["equal plan, CPU-seconds"] for told in studies if told.closed}
    if (
        len(set(spent.values())) < 2
        or not min(spent.values())
        or any(
            (told.config.task, told.config.objective)
            != (studies[0].config.task, studies[0].config.objective)
            for told in studies
        )
    ):
        return
    for told in sorted(
        (told for told in studies if told.closed), key=lambda told: spent[told.name]
    ):
        for arm, found in told.figures["arms"].items():
            for counted, name in (
                ("everything", "yield"),
                ("without proposing and oversight", f"yield{WITHOUT}"),
            ):
                yield (
                    told.name,
                    round(spent[told.name] / min(spent.values()), 2),
                    spent[told.name],
                    arm,
                    counted,
                    *interval(told, found[name]),
                )


def _once(lines: Sequence[tuple[str, Line]], studies: int) -> Iterator[Line]:
    """Yield each sentence with its study's name; one that is true of all of several studies once
    and without.
    """
    count = Counter(one.text for _, one in lines)
    for at, (name, one) in enumerate(lines):
        if count[one.text] < studies or studies == 1:
            yield replace(one, text=f"{name}: {one.text}" if name else one.text)
        elif one.text not in {earlier.text for _, earlier in lines[:at]}:
            yield one


def _sections(told: Told, index: Index, name: str) -> dict[str, tuple[list[Line], list[Table]]]:
    holds, fails = believed(told, index, name)
    return {
        "asked": _asked(told, index, name),
        "allowed": _allowed(told, index, name),
        "happened": happened(told, index, name),
        "believed": holds,
        "unbelieved": fails,
        "methods": _methods(told, index, name),
    }


def _asked(told: Told, index: Index, name: str) -> tuple[list[Line], list[Table]]:
    root, config = index.of("study"), told.config
    shape = [
        (f"study.{f.name}", _short(getattr(config.study, f.name)))
        for f in fields(config.study)
        if f.name not in ("name", "seed")
    ]
    shape += [
        (f"task.{f.name}", _short(getattr(config.task, f.name)))
        for f in fields(config.task)
        if f.name not in ("name", "cost", "baseline") and getattr(config.task, f.name) != f.default
    ]
    lines = [Line(text=one, ledger=root) for one in told.summaries[0]["objective"]["text"]]
    proof = [
        f"{s['tier']}, {'proved ' + s['proved'] if s['proved'] else 'not proved'}"
        for s in told.summaries
    ]
    runs = [
        (
            told.name,
            told.numbers[at],
            folder.name,
            run.config.study.seed,
            _state(told, at),
            proof[at],
            s["entries"],
            s["jobs"],
            round(s["wall_seconds"], 1),
            s["root"][:12],
        )
        for at, (folder, run, s) in enumerate(
            zip(told.folders, told.runs, told.summaries, strict=True)
        )
    ]
    return lines, [
        table(
            "runs",
            runs,
            [index.of("session", n) or index.entry(n, 1, "study root") for n in told.numbers],
            name,
        ),
        table("task", [("task", config.task.name), *shape], root, name),
        table("budget", _budget(told), index.of("account"), name),
    ]


def _state(told: Told, at: int) -> str:
    if told.runs[at].facts.closed:
        return "ended"
    last = next(
        (e for e in reversed(told.runs[at].entries) if e.kind in ("pause", "control")), None
    )
    why = (
        ""
        if last is None
        else (
            ENDINGS.get(last.body["exit_code"], "it failed")
            if last.kind == "pause"
            else f"order {last.body['what']}"
        )
    )
    return f"not ended{': ' if why else ''}{why}"


def _budget(told: Told) -> Iterator[tuple[Any, ...]]:
    for resource, (unit, size) in RESOURCES.items():
        cells = [s["accounts"]["root"][resource] for s in told.summaries]
        limit, spent = (sum(cell[side] for cell in cells) / size for side in ("limit", "spent"))
        if limit or spent:
            yield resource.rsplit("_", 1)[0] if "_" in resource else resource, limit, spent, unit


def _short(value: Any) -> Any:
    return (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else ("yes" if value else "no")
        if isinstance(value, bool)
        else value
    )


def _allowed(told: Told, index: Index, name: str) -> tuple[list[Line], list[Table]]:
    config, root, s = told.config, index.of("study"), told.summaries[0]
    wires = {k: v for k, v in plain(config.gates.tripwires).items() if v is not None}
    proof = (
        f"proved by heirloop doctor on {s['proved']}"
        if s["proved"]
        else "heirloop doctor was not run before it"
    )
    lines = [
        Line(
            text=f"Stage {config.autonomy.stage}. Humans control: {config.autonomy.humans}",
            ledger=root,
        ),
        Line(
            text=f"Tier {s['tier']} ({s['box']} box, {proof}).", ledger=root, warn=not s["proved"]
        ),
        Line(
            text=(
                f"Reviewer: {config.reviewer.policy}. Canaries: {config.gates.canaries:.0%} of the"
                " requests. Tripwires:"
                f" {', '.join(f'{k} {v}' for k, v in wires.items()) or 'none'}."
            ),
            ledger=root,
        ),
    ]
    if any(one["box"] == SIMULATED for one in told.summaries):
        lines.append(
            Line(
                text=(
                    "This study is simulated: trainer and proposers follow the law of a planted"
                    " world, and nothing was trained."
                ),
                ledger=root,
                warn=True,
            )
        )
    if any("unattended" in one["decided_by"] for one in told.summaries):
        lines.append(
            Line(
                text="Decisions rest on an unattended mandate: no person decided on a plan.",
                ledger=index.of("mandate"),
                warn=True,
            )
        )
    rules = [
        (each, rule, _quorum(config, each) if rule == "approve" else "")
        for each, rule in plain(config.autonomy.rules).items()
    ]
    mandates = [
        (
            (
                one["kind"],
                one["reviewer"],
                ", ".join(one["caps"]["classes"]),
                one["caps"]["jobs"],
                one["caps"]["cpu_seconds"],
                one["caps"]["hours"],
                e.time[:19],
            ),
            index.entry(n, e.sequence, "mandate"),
        )
        for n, run in zip(told.numbers, told.runs, strict=True)
        for e in run.entries
        if e.kind == "mandate"
        for one in (e.body["mandate"],)
    ]
    own = own_files(Store(told.folders[0] / "store"), config)
    return lines, [
        table("rules", rules, root, name),
        table("mandates", [row for row, _ in mandates], [at for _, at in mandates], name),
        table("files", own, root, name),
    ]


def _quorum(config: Any, name: str) -> str:
    found = getattr(config.gates.approve, name)
    if found is None:
        return "any pinned reviewer"
    who = " or ".join(found.reviewers) or f"any {found.role or 'pinned'} reviewer"
    return f"{found.of} of {who}" + (f", then {found.wait_seconds} s" if found.wait_seconds else "")


def _methods(told: Told, index: Index, name: str) -> tuple[list[Line], list[Table]]:
    config, root = told.config, index.of("study")
    study, goal, runs = config.study, config.objective, told.runs
    seeds = ", ".join(str(run.config.study.seed) for run in runs)
    spent = [
        {split: s["looks"][split] for split in ("feedback", "gate", "sealed")}
        for s in told.summaries
    ]
    looks = "; ".join(
        f"{split} {sum(one[split]['spent'] for one in spent)} of"
        f" {sum(one[split]['limit'] for one in spent)}"
        for split in spent[0]
    )
    final = study.final_replicates
    tiers = " and ".join(sorted({s["tier"] for s in told.summaries}))
    compared = (
        f"Every campaign was given {study.plan_trainings} trainings of planned compute and arms are"
        " compared when it is used"
        if study.plan_trainings
        else "Arms are compared where the slower one has spent the same planned compute"
    )
    closing = (
        f"The closing look pairs champion and baseline on {final} fresh seeds."
        if final
        else "No closing look."
    )
    text = (
        f"Arms: {', '.join(config.arms())}. Repeats of each: {len(runs) * study.repeats}, in"
        f" {len(runs)} runs of {study.repeats}, seeds {seeds}. {study.generations} generations of"
        f" {study.proposals} proposals on task {config.task.name},"
        f" {config.task.planned_cpu_us / 1e6:g} planned CPU-seconds a"
        " "
        f"training{f', from a common start of {study.start_trials} random trials' if study.start_trials else ''}."  # noqa: E501
        " Every proposal is trained once and scored on feedback; the best of a generation is"
        " confirmed on gate in pairs with the champion under shared seeds, at most"
        f" {study.confirm_replicates} pairs, by rule {goal.acceptance}, minimum effect"
        f" {goal.minimum_effect:g} on {goal.metric} ({goal.scale}), alpha {goal.alpha:g} per"
        f" campaign shared by {config.confirmations()} confirmations. {closing} Looks spent:"
        f" {looks}. {compared} ({told.figures['equal plan, CPU-seconds']:.3g} CPU-seconds). Jobs"
        f" ran in a box of tier {tiers}. Intervals are 95 % over repeats; fewer than 10 decide"
        " nothing."
    )
    rows = [
        row for n, run in zip(told.numbers, runs, strict=True) for row in _deviations(run, n, index)
    ]
    none = (
        []
        if rows
        else [
            Line(
                text=(
                    "Nothing deviated from what was registered: no amendment, no order, no refusal,"
                    " no lost job."
                ),
                ledger=root,
            )
        ]
    )
    early = [
        e
        for run in runs
        for e in run.entries
        if e.kind == "pause" and e.body["exit_code"] == BudgetExhausted.exit_code
    ]
    warn = (
        [
            Line(
                text=(
                    "A limit of the budget ended it before its plan was done. What measured limits"
                    " cut off depends on the machine: nothing here is claimed to be reproducible."
                ),
                ledger=index.of("control"),
                warn=True,
            )
        ]
        if early and not told.closed
        else []
    )
    return [Line(text=text, ledger=index.of("look") or root), *warn, *none], [
        table("deviations", [r for r, _ in rows], [at for _, at in rows], name)
    ]


def _deviations(run: Any, number: int, index: Index) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield what was not as registered: amendments, orders, interruptions, recalls, refusals, jobs
    that the box lost.
    """
    before = next(e.body for e in run.entries if e.kind == "study")
    for e in run.entries:
        if e.kind == "amended":
            changed = ", ".join(
                f"{where}: {old or 'nothing'} to {new or 'nothing'}"
                for where, old, new in differing(before["config"], e.body["config"])
            )
            before = e.body
            yield (
                (
                    e.time[:19],
                    f"amended: {changed or 'reviewers'}",
                    ", ".join(e.body["by"])[:60],
                    "",
                ),
                index.entry(number, e.sequence, "amendment"),
            )
        elif told := _told(e):
            yield (e.time[:19], *told), index.entry(number, e.sequence, e.kind)
    refused = sum(e.kind == "decision" and not e.body["allow"] for e in run.entries)
    if refused:
        yield (
            ("", f"{refused} decisions were a no", "gates and reviewers", ""),
            index.of("decision", number),
        )
    lost = sum(e.kind == "job" and e.body["result"]["status"] == "box" for e in run.entries)
    if lost:
        yield ("", f"{lost} jobs were lost by the box and charged", "", ""), index.of("job", number)


def _told(e: Entry) -> tuple[str, str, str] | None:
    if e.kind == "pause":
        return f"interrupted: {ENDINGS.get(e.body['exit_code'], 'it failed')}", "", e.body["reason"]
    if e.kind == "control":
        return f"order: {e.body['what']}", e.body["who"], e.body["why"]
    if e.kind == "recall":
        return f"recalled {len(e.body['plans'])} plans", e.body["who"], e.body["why"]
    return ("drill", e.body["who"], "") if e.kind == "drill" else None
