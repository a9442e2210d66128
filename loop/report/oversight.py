"""The report's tables of oversight: decisions, time, canaries, notices, incidents."""

from typing import Any

from loop.report.evidence import Index
from loop.report.shape import Table, table
from loop.report.study import Told
from sandbox import incident


def oversight(told: Told, index: Index, name: str) -> list[Table]:
    """Return what deciding cost and caught: decisions added up over runs, times and canaries of
    each run apart.
    """
    heads = ("mandate", "approval", "refused", "person", "external", "simulated", "unattended")
    sums: dict[str, list[int]] = {}
    for s in told.summaries:
        for what, row in s["oversight"]["by_class"].items():
            sums[what] = [
                a + row[h] for a, h in zip(sums.get(what, [0] * len(heads)), heads, strict=True)
            ]
    decided = table(
        "decisions",
        [(what, *row) for what, row in sorted(sums.items())],
        index.of("decision"),
        name,
    )
    return [
        decided,
        *(one for at in range(len(told.runs)) for one in _of_run(told, at, index, name)),
    ]


def _of_run(told: Told, at: int, index: Index, name: str) -> list[Table]:
    number, o = told.numbers[at], told.summaries[at]["oversight"]
    where = name if len(told.runs) == 1 else f"{name + ', ' if name else ''}{told.folders[at].name}"
    each = [
        (
            d["plan"][:12],
            d["class"],
            d["answer"],
            d["reviewer"],
            d["kind"],
            int(d["decided"] - d["asked"]),
            d["looked_ms"] / 1000,
        )
        for d in o["decisions"]
    ]
    return [
        table(
            "oversight",
            measures(o),
            index.of("approval", number) or index.of("decision", number),
            where,
        ),
        table("canaries", canaries(o["canaries"]), index.of("probe", number), where),
        table("signed", each, index.of("approval", number), where),
    ]


def measures(o: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (what, measured) of a summary's oversight."""
    queue, said, heard = o["queue_seconds"], o["notices"], o["notices"]["acknowledged_seconds"]
    return [
        ("signed decisions of people, of simulated reviewers", f"{o['human']}, {o['simulated']}"),
        ("human minutes", f"{o['human_minutes']:.1f}"),
        (
            "queue delay of people, median and largest",
            f"{queue['median']:.0f} s, {queue['largest']:.0f} s" if queue else "no person decided",
        ),
        (
            "share decided by mandate, by unattended mandate",
            f"{o['share_by_mandate']:.0%}, {o['share_unattended']:.0%}",
        ),
        (
            "drills, milliseconds until no job was left",
            ", ".join(map(str, o["drills_ms"])) or "none was held",
        ),
        ("incidents", str(o["incidents"])),
        (
            "notices that arrived, that did not, attempts that failed",
            f"{said['delivered']}, {said['undelivered']}, {said['failed_attempts']}",
        ),
        (
            "acknowledged, median and largest delay",
            (
                f"{said['acknowledged']}, {heard['median']:.0f} s, {heard['largest']:.0f} s"
                if heard
                else "none"
            ),
        ),
        (
            "canaries",
            (
                "counted only where the study secret is at hand"
                if o["canaries"] is None
                else "see below"
                if o["canaries"]["declared"]
                else "the study declared no canaries"
            ),
        ),
    ]


def canaries(c: dict[str, Any] | None) -> list[tuple[Any, ...]]:
    """Return hits and misses, never without the false blocks beside them."""
    if c is None or not c["declared"]:
        return []
    d, criterion = (
        f"{v[0]:.2f} ({v[1]:.2f} to {v[2]:.2f})" if v else "not enough of both"
        for v in (c["d_prime"], c["criterion"])
    )
    return [(c["hits"], c["misses"], c["false_alarms"], c["passes"], d, criterion)]


def incidents(told: Told, index: Index, name: str) -> Table:
    """Return the newest version of each incident."""
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    for number, run in zip(told.numbers, told.runs, strict=True):
        count: dict[str, int] = {}
        for e in run.entries:
            if e.kind in ("incident", "incident-amended"):
                count[e.body["id"]] = count.get(e.body["id"], 0) + 1
        for key, (one, sequence) in incident.latest(run.entries).items():
            rows.append(
                (
                    key,
                    one.title,
                    one.kind,
                    one.severity,
                    one.detector,
                    one.detected_at[:19],
                    count[key],
                )
            )
            ledger.append(index.entry(number, sequence, f"incident {key}"))
    return table("incidents", rows, ledger, name)
