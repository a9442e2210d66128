"""Who writes the report's files? Here report.html, report.json and summary.json are made.

The same for the comparison of several runs, and for the two figures of the inbox.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from loop.facts.facts import Facts, fold_entries
from loop.facts.summary import make_summary
from loop.report import study
from loop.report.figures import draw
from loop.report.happened import live_tables
from loop.report.page import page
from loop.report.shape import Report
from loop.report.tell import report
from sandbox.address import has_ledger
from sandbox.canonical import canonical
from sandbox.files import replace_file
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger


def summarize(ledger: Ledger, facts: Facts, folder: Path) -> dict[str, Any]:
    """Write summary.json of a run anew; return the summary."""
    state = make_summary(ledger, facts)
    replace_file(folder / "summary.json", canonical(state))
    return state


def publish(ledger: Ledger, facts: Facts, folder: Path) -> dict[str, Any]:
    """Write summary.json, report.html and report.json of a run anew; return the summary."""
    return publish_report(ledger, facts, folder)[0]


def publish_report(ledger: Ledger, facts: Facts, folder: Path) -> tuple[dict[str, Any], Report]:
    """Write the same; return the summary and the report."""
    state = summarize(ledger, facts, folder)
    whole = report(study.measure_open(folder, ledger, facts, state))
    _write(whole, folder)
    return state, whole


def read_report(folder: Path) -> Report:
    """Return the report of a run, from its ledger now; write nothing."""
    return report(study.read_runs([folder]))


def again(folder: Path) -> None:
    """Write them for the run in a folder.

    Raises VerificationFailed where there is no ledger, or a broken ledger.
    """
    ledger = open_ledger(folder)
    publish(ledger, fold_entries(ledger.entries()), folder)


def compare(folders: Sequence[Path], to: Path) -> Report:
    """Write report.html and report.json of several runs into a folder of their own.

    Raises BadInput where the folder is a run.
    """
    if has_ledger(to):
        raise BadInput(
            f"--to is {str(to)!r}, a run, whose own report would be lost; name another folder"
        )
    whole = report(study.read_runs(folders))
    to.mkdir(parents=True, exist_ok=True)
    _write(whole, to)
    return whole


def _write(whole: Report, folder: Path) -> None:
    data = json.dumps(plain(whole), ensure_ascii=False, allow_nan=False)
    replace_file(folder / "report.json", data)
    replace_file(folder / "report.html", page(whole))


def figure(ledger: Ledger, facts: Facts, summary: dict[str, Any], name: str) -> str:
    """Return the figure `scores` or `burn` of a run in progress, as SVG."""
    return draw(live_tables(study.read_live(ledger, facts, summary), name))
