"""paper.html of a run: the study as a paper, whose every number names its ledger entries.

Abstract, methods, results with figures, write-ups with their review and checks, limitations. All of
it is written by templates over facts; a model's own words stand as quotations.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import plain
from evals.intervals import settle
from evals.review import BEST, bin_review
from evals.writeups import KINDS, REVIEWERS, Claim, collect_reviews
from loop.instruments.writeups import is_blind, list_judged, review_all
from loop.report.asked import describe_asked
from loop.report.believed import describe_believed
from loop.report.claims import claim_lines, claim_tables
from loop.report.evidence import Index
from loop.report.markup import render
from loop.report.methods import describe_methods
from loop.report.outcome import list_outcomes, tabulate_outcomes
from loop.report.page import SectionView, view_cited, view_table
from loop.report.shape import Line, Part, Table, table
from loop.report.study import MeasuredStudy, read_runs
from sandbox.files import replace_file

MOST_WRITEUPS = 60
"""Claims on the page; `--json` of the command holds all."""
PAPER = "paper.html"


def write_paper(folder: Path) -> Path:
    """Write paper.html of a run that has ended or not; return its path.

    Raises VerificationFailed where there is no ledger, or a broken one.
    """
    path = folder / PAPER
    replace_file(path, make_paper(read_runs([folder])[0]))
    return path


def make_paper(study: MeasuredStudy) -> str:
    """Return the page."""
    index = Index(study.runs)
    asked, _ = describe_asked(study, index, "")
    _, unbelieved = describe_believed(study, index, "")
    parts: dict[str, tuple[str, Part]] = {
        "abstract": ("Abstract", (list(_abstract(study, index)), [])),
        "question": ("Question", (asked, [])),
        "methods": ("Methods", describe_methods(study, index, "")),
        "results": ("Results", _results(study, index)),
        "review": ("Claims and their review", _review(study, index)),
        "limits": ("Limitations", ([*unbelieved[0], *_limits(study, index)], [])),
    }
    sections = [
        SectionView(
            name=name,
            title=title,
            lines=tuple(lines),
            tables=tuple(view_table(one, study.config.arms()) for one in tables if one.rows),
        )
        for name, (title, (lines, tables)) in parts.items()
        if lines or tables
    ]
    cited = [view_cited(name, one, many=False) for name, one in index.cited.items()]
    return render(
        "paper.html", title=study.name, sections=sections, evidence=cited, closed=study.closed
    )


def _abstract(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    root = index.of("study")
    arms, repeats = ", ".join(study.config.arms()), study.config.study.repeats
    yield Line(
        text=(
            f"We ran arms {arms} of a self-improvement loop on task {study.config.task.name},"
            f" {'one repeat' if repeats == 1 else f'{repeats} repeats'} each."
        ),
        ledger=root,
    )
    if not study.closed:
        yield Line(text="The study has not ended, so no gain is told.", ledger=root, warn=True)
        return
    for one in list_outcomes(study):
        if one.gain is not None:
            tells = "" if not one.word else ", which cannot tell"
            text = f"Arm {one.arm} ended with {one.write()} over its baseline{tells}."
            yield Line(text=text, ledger=index.arm(one.arm, "scores"))
    yield from claim_lines(study, index)
    figures = study.figures["between"].get("scientist")
    if figures:
        worth = ", ".join(f"{name} {_number(figures[name]['AUROC'])}" for name in REVIEWERS)
        shares = figures["replicates"]
        text = (
            f"Of {len(study.records.claims)} claims of its write-ups"
            f" {sum(c.checked for c in study.records.claims)} could be checked on fresh seeds; on"
            f" average {_percent(shares['gain'])} of the findings,"
            f" {_percent(shares['elsewhere'])} of those at another value of a fixed knob and"
            f" {_percent(shares['compute'])} of those at other compute replicate. Rules that"
            f" review blind tell them apart with AUROC {worth}."
        )
        yield Line(text=text, ledger=index.of("study"))


def _percent(figure: dict[str, Any]) -> str:
    return "an unknown share" if figure["value"] is None else f"{figure['value']:.0%}"


def _number(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "unknown"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.2f}"
    few = ", too few repeats to tell" if figure["word"] else ""
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f}{few})"


def _results(study: MeasuredStudy, index: Index) -> Part:
    tables = [tabulate_outcomes([study], index), *claim_tables(study, index, "")]
    lines = list[Line]()
    if not study.closed:
        lines.append(Line(text="Results are told when the study has ended.", warn=True))
    return lines, tables


def _review(study: MeasuredStudy, index: Index) -> Part:
    claims = study.records.claims
    if not claims and any(run.facts.closed and is_blind(run) for run in study.runs):
        text = "People still review its claims at the inbox, so no check is told."
        return [Line(text=text, warn=True)], []
    if not claims:
        text = "No write-up was checked: they need study.writeups, an ended study, and its table."
        return [Line(text=text)], []
    root = index.of("study")
    said = review_all(claims)
    judged = sum(1 for run in study.runs for _ in list_judged(run))
    text = (
        f"{judged} judged generations have a write-up. Reviewers see a claim, its evidence and its"
        " reason, and neither arm, proposer, repeat, verdict nor check. Fresh seeds are new to the"
        " study; the law is the table's means."
    )
    lines = [Line(text=text, ledger=root), *_asked(claims, index)]
    figures = plain(settle(study.figures["between"]["scientist"]))
    tables = [
        table("replicates", _shares(figures["replicates"], claims), root),
        table("review", _bins(claims, said), root),
        table("reviewers", _reviewers(figures, said), root),
        _tabulate(study, index, said[BEST]),
    ]
    return lines, tables


def _asked(claims: Sequence[Claim], index: Index) -> Iterator[Line]:
    """Yield what a model and people were asked, and how often they gave no answer that counts."""
    for name in collect_reviews(claims):
        own = [[one for one in claim.reviews if one.reviewer == name] for claim in claims]
        answers = [one for each in own for one in each]
        lost = sum(one.probability is None for one in answers)
        who = "the model" if name == "model" else name
        text = (
            f"{sum(map(bool, own))} claims were put to {who}; {lost} of {len(answers)} answers do"
            " not count, and stand as a half."
        )
        yield Line(text=text, ledger=index.of("reviewed"))


def _limits(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield what the checks of the claims leave open, from their counts."""
    claims = study.records.claims
    if not claims:
        return
    root = index.of("study")
    for kind, says in KINDS.items():
        own = [claim for claim in claims if claim.stated.kind == kind]
        lost = sum(not claim.checked for claim in own)
        if lost:
            text = f"{lost} of {len(own)} claims “{says}” are not on the table, so unchecked."
            yield Line(text=text, ledger=root)
    near = sum(
        claim.checked and abs(claim.fresh - claim.stated.bound) < 2 * claim.fresh_error
        for claim in claims
    )
    wrong = sum(claim.checked and claim.replicates != claim.holds for claim in claims)
    text = (
        f"{near} checks lie within two standard errors of their bound; {wrong} disagree with the"
        " table's means. Claims of a campaign share its champions, so intervals are over repeats."
    )
    yield Line(text=text, ledger=root)


def _shares(figures: dict[str, Any], claims: Sequence[Claim]) -> Iterator[tuple[Any, ...]]:
    for kind, says in KINDS.items():
        own = [claim for claim in claims if claim.stated.kind == kind]
        one, checked = figures[kind], sum(claim.checked for claim in own)
        if own:
            yield "all", says, one["value"], one["low"], one["high"], checked, len(own)


def _bins(claims: Sequence[Claim], said: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    checked = np.array([claim.checked for claim in claims])
    truth = np.array([claim.checked and claim.replicates for claim in claims])
    for name, values in said.items():
        known = checked & np.isfinite(values)
        for mean, share, count in bin_review(values[known], truth[known]):
            yield name, mean, share, count


def _reviewers(figures: dict[str, Any], said: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    for name in (*said, *(one for one in figures if one.startswith(f"{BEST} minus"))):
        for what, one in figures[name].items():
            cells = (one[part] for part in ("value", "low", "high", "n", "unit", "word"))
            yield what, name, *cells


def _tabulate(study: MeasuredStudy, index: Index, said: Any) -> Table:
    """Return the first write-ups, each claim with the entries of its plan."""
    rows, ledger = list[tuple[Any, ...]](), list[str]()
    base = {run.base: number for number, run in enumerate(study.runs)}
    for claim, value in list(zip(study.records.claims, said, strict=True))[:MOST_WRITEUPS]:
        reads = "not checked"
        if claim.checked:
            reads = "replicates" if claim.replicates else "does not replicate"
        at = max(start for start in base if start <= claim.repeat)
        cells = (claim.stated.says, claim.stated.estimate, round(float(value), 3))
        rows.append(
            (
                claim.arm,
                claim.repeat - at,
                claim.generation,
                "yes" if claim.accepted else "no",
                *cells,
                claim.fresh,
                claim.law,
                reads,
            )
        )
        ledger.append(index.plan(base[at], claim.plan))
    return table("writeups", rows, ledger)
