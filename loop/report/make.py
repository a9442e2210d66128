"""report.html and report.json of a run, the comparison of several, and the two figures that the
inbox shows while a run goes on.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from loop.facts.facts import Facts, folded
from loop.facts.summary import summary
from loop.report import study
from loop.report.figures import draw
from loop.report.happened import live
from loop.report.page import page
from loop.report.shape import Report
from loop.report.tell import report
from sandbox.canonical import canonical
from sandbox.ledger import Ledger


def summarize(ledger: Ledger, facts: Facts, folder: Path) -> dict[str, Any]:
    """Write summary.json of a run anew; return the summary."""
    told = summary(ledger, facts)
    (folder / "summary.json").write_bytes(canonical(told))
    return told


def publish(ledger: Ledger, facts: Facts, folder: Path) -> dict[str, Any]:
    """Write summary.json, report.html and report.json of a run anew; return the summary."""
    told = summarize(ledger, facts, folder)
    _write(report(study.one(folder, ledger, facts, told)), folder)
    return told


def again(folder: Path) -> None:
    """Do so for a run that lies in a folder; raises VerificationFailed where there is none or its
    ledger is broken.
    """
    ledger = Ledger.file(folder / "ledger.sqlite")
    publish(ledger, folded(ledger.entries()), folder)


def compare(folders: Sequence[Path], to: Path) -> Report:
    """Write report.html and report.json of several runs into a folder of their own; raises BadInput
    where that folder is a run.
    """
    if (to / "ledger.sqlite").exists():
        raise BadInput(
            f"--to is {str(to)!r}, a run, whose own report would be lost; name another folder"
        )
    found = report(study.read(folders))
    to.mkdir(parents=True, exist_ok=True)
    _write(found, to)
    return found


def _write(found: Report, folder: Path) -> None:
    (folder / "report.json").write_text(
        json.dumps(plain(found), ensure_ascii=False, allow_nan=False), encoding="utf-8"
    )
    (folder / "report.html").write_text(page(found), encoding="utf-8")


def figure(ledger: Ledger, facts: Facts, told: dict[str, Any], name: str) -> str:
    """Return the figure `scores` or `burn` of a run that goes on, as SVG; `told` is its summary."""
    return draw(live(study.live(ledger, facts, told), name))
