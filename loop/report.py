"""Pages that stand alone and are readable offline: report.html, and one incident. All of it is derived from the ledger; model text is escaped."""

import html
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

from configs.objective import METRICS
from configs.study import START
from loop.archive import Facts
from loop.shown import own_files
from loop.study import read_config
from loop.summary import summary
from loop.text import visible
from sandbox.box.planted import SIMULATED
from sandbox.ledger import Ledger
from sandbox.store import Store

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-size:.9em}svg{max-width:100%;height:auto}.warn{background:#fff4d6;padding:.5rem 1rem}"""
PAGE = """body{max-width:50rem;font-size:15px}h2{margin:1.2rem 0 0;font-size:1.1em}table{margin:.3rem 0}
td{overflow-wrap:anywhere;white-space:pre-wrap}
th,td{vertical-align:top}th{font-weight:600}.fields{display:table;width:100%}.fields th{width:11rem;color:#555;font-weight:400}
@media print{body{font-size:11px}}"""


def write(ledger: Ledger, facts: Facts, path: Path) -> None:
    """Write the report of a study."""
    own = own_files(Store(path.parent / "store"), read_config(ledger))
    path.write_text(page(ledger, facts, own), encoding="utf-8")


def page(ledger: Ledger, facts: Facts, own: tuple[tuple[str, str, str, str], ...] = ()) -> str:
    """Return the report as one HTML page; `own` is the code of the people's own files that the study names (loop/shown.py)."""
    s = summary(ledger, facts)
    unattended = "unattended" in s["decided_by"]
    warn = "<p class=warn>Decisions rest on an <b>unattended</b> mandate: no person decided on a plan.</p>" if unattended else ""
    warn += ("<p class=warn>This study is <b>simulated</b>: trainer and proposers follow the law of a planted world, and nothing was trained.</p>"
             if s["box"] == SIMULATED else "")  # fmt: skip
    proof = f"proved by heirloop doctor on {s['proved']}" if s["proved"] else "heirloop doctor was not run before it"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Heirloop: {_e(s['study'])}</title><style>{STYLE}</style><h1>Study {_e(s['study'])}</h1>",
        f"<p>Tier {_e(s['tier'])} ({_e(s['box'])} box, {_e(proof)}), {s['entries']} ledger entries, {s['jobs']} jobs, "
        f"{s['wall_seconds']:.0f} s.</p>{warn}",
        "<h2>Objective</h2>", "<ul>", *(f"<li>{_e(one)}</li>" for one in s["objective"]["text"]), "</ul>",
        "<h2>What came out</h2>", _arms(s), _closing(s),
        "<h2>Looks at held-out data</h2>", _looks(s), "<h2>Score per generation</h2>", scores_figure(s),
        "<p>Feedback scores rest on one replicate each and are rounded; a line follows the champion.</p>",
        "<h2>Budget</h2>", burn_figure(ledger, s), _accounts(s), "<h2>Oversight</h2>", oversight(s["oversight"]), "<h2>Plans</h2>", _plans(s),
        *(f"<h2>The study's own {_e(field)}</h2><p>{_e(path)}, pinned as <code>{_e(pin)}</code>: trusted code of a person.</p>"
          f"<pre>{_e(code, True)}</pre>" for field, path, pin, code in own),
        f"<p>Study root <code>{_e(s['root'])}</code>. <code>heirloop verify</code> recomputes this from bytes.</p></html>",
    ]  # fmt: skip
    return "\n".join(parts)


def scores_figure(s: dict[str, Any]) -> str:
    """Return the figure of feedback scores per generation and arm as inline SVG."""
    figure, axis = _figure()
    for number, name in enumerate(sorted({g["arm"] for g in s["generations"]})):
        colour, best, line = COLOURS[number % len(COLOURS)], None, []
        for g in (g for g in s["generations"] if g["arm"] == name and (g["repeat"] == 0 or name == START)):
            plans = [p for p in g["plans"] if p["shown"] is not None]
            values = [p["shown"] for p in plans]
            axis.plot([g["index"] + 0.06 * number] * len(values), values, "o", color=colour, alpha=0.45, markersize=4,
                      label=f"{name}: trials" if name == START and not g["repeat"] else None)  # fmt: skip
            for p in plans:
                if p["verdict"] in ("accept", "baseline"):
                    best = p["shown"]
            if values and name != START:  # its trials have no champion
                line.append((g["index"], best))
        if line:
            axis.plot(*zip(*line, strict=True), color=colour, label=f"{name}: champion", marker=".")
    metric = s["objective"]["metric"]
    axis.set(xlabel="generation", ylabel=f"{metric.replace('_', ' ')} on feedback", ylim=(-0.02, 1.02) if METRICS[metric].share else None)
    axis.xaxis.get_major_locator().set_params(integer=True)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left", fontsize=8)
    return _svg(figure)


def burn_figure(ledger: Ledger, s: dict[str, Any]) -> str:
    """Return the burn-down of the study's CPU budget as inline SVG."""
    left, line = s["accounts"]["root"]["cpu_us"]["limit"] / 1e6, []
    for entry in ledger.entries():
        if entry.kind == "settle":
            left -= entry.body["spent"]["cpu_us"] / 1e6
            line.append((entry.sequence, left))
    figure, axis = _figure()
    if line:
        axis.plot(*zip(*line, strict=True), color=COLOURS[0])
    axis.set(xlabel="ledger entry", ylabel="CPU-seconds left", ylim=(0, None))
    return _svg(figure)


def oversight(o: dict[str, Any]) -> str:
    """Return what deciding cost and caught as HTML: tables of decisions, time, canaries and notices."""
    heads = ["class", "mandate", "approval", "refused", "person", "external", "simulated", "unattended"]
    rows: list[list[Any]] = [[name, *(row[h] for h in heads[1:])] for name, row in sorted(o["by_class"].items())]
    queue, said, heard = o["queue_seconds"], o["notices"], o["notices"]["acknowledged_seconds"]
    facts: list[list[Any]] = [
        ["signed decisions of people, of simulated reviewers", f"{o['human']}, {o['simulated']}"],
        ["human minutes", f"{o['human_minutes']:.1f}"],
        ["queue delay of people, median and largest", f"{queue['median']:.0f} s, {queue['largest']:.0f} s" if queue else "no person decided"],
        ["share decided by mandate, by unattended mandate", f"{o['share_by_mandate']:.0%}, {o['share_unattended']:.0%}"],
        ["drills, milliseconds until no job was left", ", ".join(map(str, o["drills_ms"])) or "none was held"],
        ["incidents", str(o["incidents"])],
        ["notices that arrived, that did not, attempts that failed", f"{said['delivered']}, {said['undelivered']}, {said['failed_attempts']}"],
        ["acknowledged, median and largest delay", f"{said['acknowledged']}, {heard['median']:.0f} s, {heard['largest']:.0f} s" if heard else "none"],
    ]  # fmt: skip
    each = [[d["plan"][:8], d["class"], d["answer"], d["reviewer"], d["kind"], int(d["decided"] - d["asked"]), f"{d['looked_ms'] / 1000:.1f}"]
            for d in o["decisions"]]  # fmt: skip
    whole = _table(["plan", "class", "answer", "reviewer", "kind", "seconds since it was asked", "seconds looked"], each)
    return "\n".join([
        _table(heads, rows) if rows else "<p>Nothing was decided.</p>", _table(["what", "measured"], facts), _canaries(o["canaries"]),
        f"<details><summary>All {len(each)} signed decisions</summary>{whole}</details>" if each else "",
    ])  # fmt: skip


def _canaries(c: dict[str, Any] | None) -> str:
    if c is None:
        return "<p>Canaries are counted only where the study secret is at hand.</p>"
    if not c["declared"]:
        return "<p>The study declared no canaries.</p>"
    d, criterion = (f"{v[0]:.2f} ({v[1]:.2f} to {v[2]:.2f})" if v else "not enough of both" for v in (c["d_prime"], c["criterion"]))
    heads = ["canaries stopped (hits)", "canaries passed (misses)", "twins stopped (false blocks)", "twins passed", "d′ (95 %)", "criterion (95 %)"]
    return (_table(heads, [[c["hits"], c["misses"], c["false_alarms"], c["passes"], d, criterion]])
            + f"<p>{c['declared']:.0%} of the requests were followed by a canary and its benign twin, which can never run. A miss means "
              f"nothing without the false blocks beside it: whoever denies everything misses none.</p>")  # fmt: skip


PARTS = {
    "What happened": ("title", "kind", "severity", "occurred_start", "occurred_end", "detected_at", "detector", "reporter", "internal_use"),
    "Harm": ("harm_actual", "harm_potential", "notification_due_at"),
    "Cause and answer": ("root_cause", "containment", "corrective_action"),
    "Evidence": ("study", "plan", "artifacts", "chain", "amended_from"),
}
"""The fields of an incident but its id, as its page groups them."""
KEPT = ("amended_from", "reporter")
"""What every amendment changes."""


def incident_page(versions: list[dict[str, Any]], chain: list[dict[str, Any]]) -> str:
    """Return one incident, newest version, as a page: its fields, its chain of events, what each amendment changed."""
    last = versions[-1]
    name, due = _e(last["id"]), last["notification_due_at"]
    tables = [f"<h2>{part}</h2>{_fields({field: last[field] for field in fields})}" for part, fields in PARTS.items()]
    events = "".join(f"<tr><th>{one['sequence']} {_e(one['kind'])}<br>{_e(one['time'][:19])}</th><td>{_body(one['body'])}</td></tr>" for one in chain)
    pairs = [(at, new["reporter"], {k: new[k] for k in new if new[k] != old[k] and k not in KEPT})
             for at, (old, new) in enumerate(itertools.pairwise(versions), 2)]  # fmt: skip
    changed = "".join(f"<tr><th>version {at}<br>{_e(by)}</th><td>{_body(fields)}</td></tr>" for at, by, fields in pairs)
    return "\n".join([
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Incident {name}</title>",
        f"<style>{STYLE}{PAGE}</style><h1>Incident {name}</h1>",
        f"<p class=warn>Notice to authorities is due by <b>{_e(due)}</b>.</p>" if due else "<p>No law asks for a notice: no harm occurred.</p>",
        *tables, f"<h2>Chain of events</h2><table class=fields>{events}</table>" if events else "",
        f"<h2>Amendments</h2><table class=fields>{changed}</table>" if changed else "",
        "<p>The newest version is shown; the ledger keeps all of them. Times are UTC, digests sha256; those in the chain of events are "
        "shortened to 12 digits, the JSON beside this page has them whole.</p></html>",
    ])  # fmt: skip


def _body(body: dict[str, Any]) -> str:
    told = {name.replace("_", " "): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in body.items()}
    lines = (f"{name}: {value}" for name, value in told.items())
    return _e(re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", "\n".join(lines)), lines=True)


def _fields(values: dict[str, Any]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "<br>".join(map(cell, value)) or "none"
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        return f"<code>{_e(text)}</code>" if len(text) == 64 and text.isalnum() else _e(text, lines=True) or "not known yet"

    rows = "".join(f"<tr><th>{_e(name.replace('_', ' '))}</th><td>{cell(value)}</td></tr>" for name, value in values.items())
    return f"<table class=fields>{rows}</table>"


def _figure() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "heirloop", "axes.spines.top": False, "axes.spines.right": False})
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(7, 3), constrained_layout=True)


def _svg(figure: Any) -> str:
    import matplotlib.pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _arms(s: dict[str, Any]) -> str:
    rows = []
    for a in s["arms"]:
        gate = a["gate"]
        gain = f"{gate['gain']:+.3f} ({gate['low']:+.3f} to {gate['high']:+.3f})" if gate and gate["gain"] is not None else "no change accepted"
        feedback = a["feedback"]
        claims = f"{a['skill']['rank_correlation']} ({a['skill']['claims']})" if a["skill"]["claims"] else "no claims"
        rows.append([a["arm"], a["repeat"], a["accepted"], feedback["baseline"], feedback["champion"], gain, _flag(a), claims])
    head = ["arm", "repeat", "accepted", "baseline, feedback", "champion, feedback", "held-out gain on gate (interval)", "flag",
            "claims against gains, rank correlation (claims)"]  # fmt: skip
    return _table(head, rows)


def _flag(row: dict[str, Any]) -> str:
    return "computable" if row["computable"] else ""


def _closing(s: dict[str, Any]) -> str:
    """Return the table of every metric of the closing looks at gate, baseline beside champion; nothing before there was one."""
    sides = [s[who]["scores"].get("gate") for who in ("baseline", "champion")]
    if not all(sides):
        return ""
    names = [n for n in METRICS if n in sides[0] and n in sides[1]]
    rows = [[n, METRICS[n].text, *(f"{side[n]:.4g}" for side in sides)] for n in names]
    rows += [[f"slice {n}", "exact match", *(f"{side['slices'][n]:.4g}" for side in sides)] for n in sides[0]["slices"] if n in sides[1]["slices"]]
    return "<h3>Closing look at gate</h3>" + _table(["metric", "what it is", "baseline", "champion"], rows)


def _looks(s: dict[str, Any]) -> str:
    rows: list[list[Any]] = [[split, one["spent"], one["limit"]] for split, one in s["looks"].items()]
    opened = [[number, o["plan"][:12], o["champion"][:12], o["metric"], _effect(o), o["replicates"], _flag(o)]
              for number, o in enumerate(s["openings"], 1)]  # fmt: skip
    told = f"<p>Sealed was opened {s['looks']['sealed']['spent']} times.</p>"
    head = ["opening", "plan", "champion", "metric", "gain over the baseline on sealed (95 %)", "pairs", "flag"]
    return _table(["split", "looks", "limit"], rows) + told + (_table(head, opened) if opened else "")


def _effect(o: dict[str, Any]) -> str:
    return "incomplete" if o["gain"] is None else f"{o['gain']:+.3f} ({o['low']:+.3f} to {o['high']:+.3f})"


def _accounts(s: dict[str, Any]) -> str:
    rows = [[name, f"{a['cpu_us']['spent'] / 1e6:.1f}", f"{a['cpu_us']['limit'] / 1e6:.0f}", a["jobs"]["spent"], a["jobs"]["limit"]]
            for name, a in s["accounts"].items() if not name.startswith("look ")]  # fmt: skip
    head, own = ["account", "CPU-seconds spent", "limit", "jobs", "limit"], [row for row in rows if not str(row[0]).startswith("grant:")]
    rest = [row for row in rows if row not in own]
    more = f"<details><summary>Accounts of {len(rest)} mandates and approvals</summary>{_table(head, rest)}</details>" if rest else ""
    return _table(head, own) + more


def _plans(s: dict[str, Any]) -> str:
    rows = []
    for g in s["generations"]:
        for p in g["plans"]:
            knobs = ", ".join(f"{k}={v}" for k, v in p["change"]["knobs"].items()) or p["purpose"]
            rows.append([g["arm"], g["index"], p["id"][:8], knobs, p["shown"], p["verdict"], _flag(p), "; ".join(p["failures"])])
    return _table(["arm", "generation", "plan", "change", "feedback", "verdict", "flag", "failures"], rows)


def _table(head: list[str], rows: list[list[Any]]) -> str:
    cells = "".join(
        "<tr>" + "".join(f"<td class=n>{_e(v)}</td>" if isinstance(v, int | float) else f"<td>{_e(v)}</td>" for v in r) + "</tr>" for r in rows
    )
    return f"<table><tr>{''.join(f'<th>{_e(h)}</th>' for h in head)}</tr>{cells}</table>"


def _e(value: object, lines: bool = False) -> str:
    return html.escape(visible("" if value is None else str(value), lines))
