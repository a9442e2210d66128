"""report.html from a report's records: one page that runs and loads nothing, for a screen, a phone
and paper, light and dark. All is escaped.
"""

import csv
import html
import io
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

from loop.report.figures import FIGURES, draw
from loop.report.shape import SECTIONS, TABLES, Cited, Line, Report, Section, Table
from loop.text import visible

ROWS = 300
"""Rows of a table on the page; report.json holds all."""
CSV_ROWS = 3000
"""Rows of a figure's CSV on the page."""
FOLDED = frozenset(
    {
        "accounts",
        "deviations",
        "efficiency",
        "incidents",
        "missing",
        "plans",
        "promise",
        "retention",
        "signed",
        "stages",
        "task",
    }
)
"""Tables that stand folded where they are long."""
STYLE = """:root{--fg:#1a1a1a;--bg:#fff;--line:#d5d5d5;--dim:#595959;--warn:#fff4d6;--link:#0b5394}
@media (prefers-color-scheme:dark){:root{--fg:#e6e6e6;--bg:#16181c;--line:#3a3d44;--dim:#a8a8a8;--warn:#43381a;--link:#8ab4f8;
--0072b2:#4aa3df;--d55e00:#f0803c;--009e73:#2fc79a;--cc79a7:#e39cc3;--e69f00:#f0b43c;--56b4e9:#7cc8f2;--808080:#9a9a9a}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:auto;padding:0 1rem 4rem;color:var(--fg);background:var(--bg)}
h1{line-height:1.2;overflow-wrap:anywhere}h2{margin-top:2.5rem;border-bottom:2px solid var(--line)}h3{margin:1.8rem 0 .3rem;font-size:1.05rem}
p{overflow-wrap:anywhere}a{color:var(--link)}td a,p a.l{color:inherit;text-decoration:underline dotted;text-underline-offset:3px}
.wide{overflow-x:auto;margin:.5rem 0}table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--dim)}td.t{min-width:9rem}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td{overflow-wrap:break-word;max-width:28rem}
p a.l{font-size:.75em;color:var(--dim)}
code,pre{font-size:.85em;overflow-wrap:anywhere}pre{white-space:pre-wrap;border-left:3px solid var(--line);padding-left:.7rem}
svg text{fill:currentColor}
svg{display:block;width:100%;max-width:38rem;height:auto}.warn{background:var(--warn);padding:.5rem .8rem;border-radius:4px}
.note{color:var(--dim);font-size:.9rem;margin:.3rem 0}summary{cursor:pointer;margin:.4rem 0}
dt{margin-top:.5rem;font-weight:600}dd{margin-left:1rem;font-size:.9rem;overflow-wrap:anywhere}
nav a{margin-right:1rem;white-space:nowrap}
@media print{body{font-size:11px;max-width:none;padding:0}nav,.csv{display:none}h2,h3{break-after:avoid}figure,tr{break-inside:avoid}
.wide{overflow:visible}table{font-size:10px}svg{max-width:15cm}a{color:inherit;text-decoration:none}}"""  # noqa: E501


def page(report: Report) -> str:
    """Return a report as one HTML page."""
    named = [one for one in report.sections if one.lines or one.tables]
    links = (
        " ".join(f"<a href='#{one.name}'>{SECTIONS[one.name]}</a>" for one in named)
        + " <a href='#ledger'>Ledger entries</a>"
    )
    return "\n".join(
        [
            head(f"Heirloop: {report.title}", STYLE),
            f"<h1>{e(report.title)}</h1><nav>{links}</nav>",
            *(_section(one) for one in named),
            (
                "<h2 id=ledger>Ledger entries</h2><p class=note>What each number rests on: entries"
                " of the ledger by sequence, kind and the start of their hash; where there are"
                " several runs, by the number that the table of runs gives them. <code>heirloop"
                " verify RUN</code> recomputes all of it from bytes; report.json beside this page"
                " holds every row.</p>"
            ),
            _evidence(report),
            "</html>",
        ]
    )


def head(title: str, style: str) -> str:
    """Return how each page begins."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport"
        " content='width=device-width,initial-scale=1'><meta name=color-scheme content='light"
        f" dark'><title>{e(title)}</title><style>{style}</style>"
    )


def e(value: object, lines: bool = False) -> str:
    """Return text escaped for HTML, every character visible."""
    return html.escape(visible("" if value is None else str(value), lines))


def _section(one: Section) -> str:
    shown = [t for t in one.tables if t.name != "trials"]
    trials = {t.study: t for t in one.tables if t.name == "trials"}
    arms = {t.study: sorted({row[0] for row in t.rows}) for t in one.tables if t.name == "arms"}
    parts = [
        _table(t, arms.get(t.study, []), trials.get(t.study) if t.name == "scores" else None)
        for t in shown
    ]
    return "\n".join(
        [f"<h2 id={one.name}>{SECTIONS[one.name]}</h2>", *map(_line, one.lines), *parts]
    )


def _line(one: Line) -> str:
    link = f" <a class=l href='#{anchor(one.ledger)}'>ledger</a>" if one.ledger else ""
    return f"<p{' class=warn' if one.warn else ''}>{e(one.text)}{link}</p>"


def anchor(name: str) -> str:
    """Return the place of a set of entries on the page."""
    return "e-" + urllib.parse.quote(name, safe="").replace("%", "_")


def _table(one: Table, arms: Sequence[str], trials: Table | None = None) -> str:
    kind = TABLES[one.name]
    title = f"<h3>{e(kind.title)}{f': {e(one.study)}' if one.study else ''}</h3>"
    note = f"<p class=note>{e(kind.note)}</p>" if kind.note else ""
    if one.name == "files":
        return (
            title
            + note
            + "".join(
                f"<p>{e(field)}: {e(path)}, pinned as"
                f" <code>{e(pin)}</code></p><pre>{e(code, True)}</pre>"
                for field, path, pin, code in one.rows
            )
        )
    if one.name in FIGURES and (made := draw([one, trials] if trials else [one], arms)):
        words = (
            {r[-1] for r in one.rows if r[-1] and isinstance(r[-1], str)}
            if one.columns[-1] == "reads"
            else set()
        )
        more = (
            f"<details><summary>Table</summary>{_rows(one)}</details>"
            if words or one.name == "funnel"
            else ""
        )
        return (
            "<figure"
            " "
            f"style='margin:0'>{title}{made}{note}{more}{''.join(_csv(t) for t in (one, trials) if t)}</figure>"  # noqa: E501
        )
    rows = _rows(one)
    folded = len(one.rows) > (12 if one.name in FOLDED else 30) or (
        one.name == "oversight" and bool(one.study)
    )
    return (
        title
        + note
        + (f"<details><summary>{len(one.rows)} rows</summary>{rows}</details>" if folded else rows)
    )


def _rows(one: Table) -> str:
    """Return rows as HTML: value, low and high in one cell; each number leads to the entries that
    it rests on.
    """
    heads, joined = (
        list(one.columns),
        one.columns.index("low") - 1 if "low" in one.columns else None,
    )
    rows, only = _split(one)
    kept = _chosen(one, rows)
    if joined is not None:
        heads[joined : joined + 3] = [
            f"{'figure' if heads[joined] == 'value' else heads[joined]} (interval)"
        ]
    told = "".join(f"<p class=note>{e(text)}</p>" for text in only)
    if one.name == "oversight":
        kept = [((what, Number(measured)), at) for (what, measured), at in kept]
    body = "".join(
        f"<tr>{''.join(_cell(v, at) for v in _joined(row, joined))}</tr>" for row, at in kept
    )
    more = (
        f"<p class=note>{len(kept)} of {len(rows)} rows; the others are in report.json.</p>"
        if len(kept) < len(rows)
        else ""
    )
    return (
        (
            "<div"
            " "
            f"class=wide><table><tr>{''.join(f'<th>{e(h)}</th>' for h in heads)}</tr>{body}</table></div>"  # noqa: E501
            if body
            else ""
        )
        + more
        + told
    )


def _split(one: Table) -> tuple[list[tuple[tuple[Any, ...], str]], list[str]]:
    """Return the rows that have a number, with their entries, and sentences that name the others by
    the word which stands for them.
    """
    rows = list(zip(one.rows, one.ledger, strict=True))
    if one.columns[-1] != "reads" or "value" not in one.columns:
        return rows, []
    at, bare = one.columns.index("value"), dict[tuple[str, str], list[str]]()
    for row, _ in rows:
        if row[at] is None and row[at + 1] is None:
            bare.setdefault((row[-1], row[at - 1]), []).append(row[0])
    arms, words = len({row[0] for row in one.rows}), dict[str, list[str]]()
    for (word, part), of in bare.items():
        words.setdefault(word, []).append(
            part + ("" if at < 2 else " (all)" if len(of) == arms else f" ({', '.join(of)})")
        )
    return [r for r in rows if r[0][at] is not None or r[0][at + 1] is not None], [
        f"{word}: {'; '.join(parts)}" for word, parts in words.items()
    ]


def _chosen(
    one: Table, rows: Sequence[tuple[tuple[Any, ...], str]]
) -> Sequence[tuple[tuple[Any, ...], str]]:
    if len(rows) > ROWS and one.name == "plans":  # those that a verdict was given on tell most
        return [row for row in rows if row[0][6] not in ("screened", "failed", "waiting")][:ROWS]
    return rows[:ROWS]


def _joined(row: Sequence[Any], at: int | None) -> Iterable[Any]:
    if at is None:
        return row
    value, low, high = row[at : at + 3]
    ends = (
        f" ({number(low)} to {number(high)})"
        if low is not None and high is not None
        else f" (at least {number(low)})"
        if low is not None
        else ""
    )
    return (
        *row[:at],
        (
            None
            if value is None and not ends
            else Number(f"{'' if value is None else number(value)}{ends}")
        ),
        *row[at + 3 :],
    )


class Number(str):
    """Text that is a figure."""


def _cell(value: Any, at: str) -> str:
    if value is None or value == "":
        return "<td></td>"
    if isinstance(value, bool) or not isinstance(value, int | float | Number):
        return f"<td{' class=t' if len(str(value)) > 20 else ''}>{e(value)}</td>"
    text = e(value if isinstance(value, str) else number(value))
    return (
        f"<td class=n><a href='#{anchor(at)}'>{text}</a></td>" if at else f"<td class=n>{text}</td>"
    )


def number(value: float) -> str:
    """Return a number as the page writes it: whole numbers whole, others with four digits."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value)}"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def _csv(one: Table) -> str:
    text = csv_text(one, CSV_ROWS)
    more = f", the first {CSV_ROWS} of {len(one.rows)} rows" if len(one.rows) > CSV_ROWS else ""
    link = (
        f"<a download='{one.name}.csv'"
        f" href='data:text/csv;charset=utf-8,{urllib.parse.quote(text)}'>{one.name}.csv</a>"
    )
    return f"<p class='note csv'>{link}{more}</p>"


def csv_text(one: Table, most: int) -> str:
    """Return a table as CSV, with the ledger entries that each row rests on; what a spreadsheet
    would take for a formula begins with a quote.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*one.columns, "ledger"])
    for row, at in zip(one.rows[:most], one.ledger, strict=False):
        writer.writerow(
            [
                ("'" + v if v[:1] in ("=", "+", "-", "@") else v) if isinstance(v, str) else v
                for v in (*row, at)
            ]
        )
    return out.getvalue()


def _evidence(report: Report) -> str:
    kept = [(name, one) for name, one in report.evidence.items() if not name.startswith("plan ")]
    plans = [(name, one) for name, one in report.evidence.items() if name.startswith("plan ")]
    used = set(_linked(report))
    many = len({run for one in report.evidence.values() for run, _, _ in one.spans}) > 1
    rows = f"<dl>{''.join(_cited(name, one, many) for name, one in kept)}</dl>"
    if used:
        rows += (
            f"<details><summary>{len(used)}"
            " "
            f"plans</summary><dl>{''.join(_cited(n, one, many) for n, one in plans if n in used)}</dl></details>"  # noqa: E501
        )
    return rows


def _linked(report: Report) -> Iterable[str]:
    """Yield the sets of single plans that a number on the page leads to."""
    for section in report.sections:
        for one in section.tables:
            if one.name == "plans":
                yield from (
                    at for _, at in _chosen(one, list(zip(one.rows, one.ledger, strict=True)))
                )


def _cited(name: str, one: Cited, many: bool) -> str:
    found: dict[int, list[str]] = {}
    for run, at, kind, pin in one.listed:
        found.setdefault(run, []).append(f"{at} {e(kind)} <code>{e(pin)}</code>")
    for run, first, last in () if one.listed else one.spans:
        found.setdefault(run, []).append(f"{first} to {last}" if last > first else str(first))
    told = "; ".join(
        (f"run {run}: " if many else "") + ", ".join(parts) for run, parts in found.items()
    )
    return f"<dt id='{anchor(name)}'>{e(one.what)}, {one.entries}</dt><dd>{told}</dd>"
