"""Section `allowed`: stage of autonomy, tier, rules of the gates, mandates, own files."""

from collections.abc import Iterator
from typing import Any

from configs.build import plain
from configs.entries import MandateEntry, StudyEntry, facts_of, lines_of
from configs.settings.config import Config
from configs.settings.task import SIMULATED
from loop.facts.summary import STAND_INS, describe_proof
from loop.people.view import read_own_files
from loop.report.evidence import Index
from loop.report.shape import Line, Part, table
from loop.report.study import MeasuredStudy
from loop.study.box import describe_fall_back
from sandbox.remote_store import open_store


def describe_allowed(study: MeasuredStudy, index: Index, name: str) -> Part:
    """Return the section's sentences and tables of a study."""
    config, root = study.config, index.of("study")
    lines = [*_rules_in_words(study, root), *_warnings(study, index, root)]
    mandates = list(_mandates(study, index))
    own = read_own_files(open_store(study.folders[0]), config)
    return lines, [
        table("rules", _rules(config), root, name),
        table("mandates", [row for row, _ in mandates], [at for _, at in mandates], name),
        table("files", own, root, name),
    ]


def _rules_in_words(study: MeasuredStudy, root: str) -> Iterator[Line]:
    config, summary = study.config, study.summaries[0]
    yield Line(
        text=f"Stage {config.autonomy.stage}. Humans control: {config.autonomy.humans}",
        ledger=root,
    )
    proof = describe_proof(summary["box"], summary["proved"])
    yield Line(
        text=f"Tier {summary['tier']} ({summary['box']} box, {proof}).",
        ledger=root,
        warn=not summary["proved"] and summary["box"] not in STAND_INS,
    )
    for reason in _list_lacks(study):
        yield Line(text=f"{reason}.", ledger=root, warn=True)
    limits = plain(config.gates.tripwires).items()
    wires = ", ".join(f"{name} {limit}" for name, limit in limits if limit is not None)
    yield Line(
        text=(
            f"Reviewer: {config.reviewer.policy}. Canaries: {config.gates.canaries:.0%} of the"
            f" requests. Tripwires: {wires or 'none'}."
        ),
        ledger=root,
    )


def _tell_trained(study: MeasuredStudy) -> str:
    """Return a sentence on what a study on a table really trained; nothing without it."""
    boxes = {next(facts_of(run.entries, StudyEntry)).proposers_in for run in study.runs} - {""}
    if not boxes:
        return ""
    return (
        " The weights that propose were really trained, once a question, in a"
        f" {' and a '.join(sorted(boxes))}; that is charged as measured."
    )


def _list_lacks(study: MeasuredStudy) -> list[str]:
    """Return why runs had to take the Docker box or give agents no TCP port, each reason once."""
    roots = [next(facts_of(run.entries, StudyEntry)) for run in study.runs]
    reasons = [describe_fall_back(root.fell_back) for root in roots if root.fell_back]
    reasons += [root.no_tcp for root in roots if root.no_tcp]
    return list(dict.fromkeys(reasons))


def _warnings(study: MeasuredStudy, index: Index, root: str) -> Iterator[Line]:
    if any(summary["box"] == SIMULATED for summary in study.summaries):
        yield Line(
            text=(
                "This study is simulated: trainer and proposers follow the law of a planted"
                " world, and nothing was trained."
            ),
            ledger=root,
            warn=True,
        )
    if study.config.task.table:
        yield Line(
            text=(
                "Tier T: every training was looked up in the table of recorded trainings"
                f" {study.config.task.table} (sha256 {study.config.task.table_digest[:12]})."
                " Claims hold on this table. Its folds are dealt to the splits, not secret."
                f"{_tell_trained(study)}"
            ),
            ledger=root,
            warn=True,
        )
    if any("unattended" in summary["decided_by"] for summary in study.summaries):
        yield Line(
            text="Decisions rest on an unattended mandate: no person decided on a plan.",
            ledger=index.of("mandate"),
            warn=True,
        )


def _rules(config: Config) -> Iterator[tuple[str, str, str]]:
    for change_class, rule in plain(config.autonomy.rules).items():
        quorum = _quorum(config, change_class) if rule == "approve" else ""
        yield change_class, rule, quorum


def _quorum(config: Config, change_class: str) -> str:
    quorum = config.gates.approve.get(change_class)
    if quorum is None:
        return "any pinned reviewer"
    reviewers = " or ".join(quorum.reviewers) or f"any {quorum.role or 'pinned'} reviewer"
    wait = f", then {quorum.wait_seconds} s" if quorum.wait_seconds else ""
    return f"{quorum.of} of {reviewers}{wait}"


def _mandates(study: MeasuredStudy, index: Index) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield each mandate with its entry."""
    for number, run in zip(study.numbers, study.runs, strict=True):
        for entry, fact in lines_of(run.entries, MandateEntry):
            mandate = fact.mandate
            row = (
                mandate.kind,
                mandate.reviewer,
                ", ".join(mandate.caps.classes),
                mandate.caps.jobs,
                mandate.caps.cpu_seconds,
                mandate.caps.hours,
                entry.time[:19],
            )
            yield row, index.entry(number, entry.sequence, "mandate")
