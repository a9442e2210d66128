"""report.html: self-contained, readable offline. Everything in it is derived from the ledger; model text is escaped."""

import html
import io
from pathlib import Path
from typing import Any

from loop.archive import Facts
from loop.summary import summary
from sandbox.ledger import Ledger

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-size:.9em}svg{max-width:100%;height:auto}.warn{background:#fff4d6;padding:.5rem 1rem}"""


def write(ledger: Ledger, facts: Facts, path: Path) -> None:
    """Write the report of a study."""
    path.write_text(page(ledger, facts), encoding="utf-8")


def page(ledger: Ledger, facts: Facts) -> str:
    """Return the report as one HTML page."""
    s = summary(ledger, facts)
    unattended = "unattended" in s["decided_by"]
    warn = "<p class=warn>Decisions rest on an <b>unattended</b> mandate: no person decided on a plan.</p>" if unattended else ""
    proof = f"proved by heirloop doctor on {s['proved']}" if s["proved"] else "heirloop doctor was not run before it"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Heirloop: {_e(s['study'])}</title><style>{STYLE}</style><h1>Study {_e(s['study'])}</h1>",
        f"<p>Tier {_e(s['tier'])} ({_e(s['box'])} box, {_e(proof)}), {s['entries']} ledger entries, {s['jobs']} jobs, "
        f"{s['wall_seconds']:.0f} s; gate was looked at {s['looks'].get('gate', 0)} times.</p>{warn}",
        "<h2>What came out</h2>", _arms(s), "<h2>Score per generation</h2>", scores_figure(s),
        "<p>Feedback scores rest on one replicate each and are rounded; a line follows the champion.</p>",
        "<h2>Budget</h2>", burn_figure(ledger, s), _accounts(s), "<h2>Plans</h2>", _plans(s),
        f"<p>Study root <code>{_e(s['root'])}</code>. <code>heirloop verify</code> recomputes this from bytes.</p></html>",
    ]  # fmt: skip
    return "\n".join(parts)


def scores_figure(s: dict[str, Any]) -> str:
    """Return the figure of feedback scores per generation and arm as inline SVG."""
    figure, axis = _figure()
    for number, name in enumerate(sorted({g["arm"] for g in s["generations"]})):
        colour, best, line = COLOURS[number % len(COLOURS)], None, []
        for g in (g for g in s["generations"] if g["arm"] == name and g["repeat"] == 0):
            plans = [p for p in g["plans"] if "feedback" in p["scores"]]
            values = [p["scores"]["feedback"]["exact_match"] for p in plans]
            axis.plot([g["index"] + 0.06 * number] * len(values), values, "o", color=colour, alpha=0.45, markersize=4)
            for p in plans:
                if p["verdict"] in ("accept", "baseline"):
                    best = p["scores"]["feedback"]["exact_match"]
            if values:
                line.append((g["index"], best))
        if line:
            axis.plot(*zip(*line, strict=True), color=colour, label=f"{name}: champion", marker=".")
    axis.set(xlabel="generation", ylabel="exact match on feedback (share)", ylim=(-0.02, 1.02))
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
        rows.append([a["arm"], a["repeat"], a["accepted"], feedback["baseline"], feedback["champion"], gain])
    return _table(["arm", "repeat", "accepted", "baseline, feedback", "champion, feedback", "held-out gain on gate (interval)"], rows)


def _accounts(s: dict[str, Any]) -> str:
    rows = [[name, f"{a['cpu_us']['spent'] / 1e6:.1f}", f"{a['cpu_us']['limit'] / 1e6:.0f}", a["jobs"]["spent"], a["jobs"]["limit"]]
            for name, a in s["accounts"].items()]  # fmt: skip
    return _table(["account", "CPU-seconds spent", "limit", "jobs", "limit"], rows)


def _plans(s: dict[str, Any]) -> str:
    rows = []
    for g in s["generations"]:
        for p in g["plans"]:
            score = p["scores"].get("feedback", {}).get("exact_match", "")
            knobs = ", ".join(f"{k}={v}" for k, v in p["change"]["knobs"].items()) or p["purpose"]
            rows.append([g["arm"], g["index"], p["id"][:8], knobs, score, p["verdict"], "; ".join(p["failures"])])
    return _table(["arm", "generation", "plan", "change", "feedback", "verdict", "failures"], rows)


def _table(head: list[str], rows: list[list[Any]]) -> str:
    cells = "".join(
        "<tr>" + "".join(f"<td class=n>{_e(v)}</td>" if isinstance(v, int | float) else f"<td>{_e(v)}</td>" for v in r) + "</tr>" for r in rows
    )
    return f"<table><tr>{''.join(f'<th>{_e(h)}</th>' for h in head)}</tr>{cells}</table>"


def _e(value: object) -> str:
    text = "" if value is None else str(value)
    return html.escape("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text))
