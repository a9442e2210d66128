"""Verbs for reading a run: verify, replay, report, compare, measure, export, cite, account."""

import json
from pathlib import Path
from typing import Any

import click

from configs.errors import BadInput, VerificationFailed
from loop.export import cite as citation
from loop.export.verify import verify_export
from loop.export.write import export as write_export
from loop.facts import statement
from loop.instruments.ablation import list_ablation, measure_ablation
from loop.instruments.run import Run
from loop.people.send import call_people
from loop.report import make
from loop.report.study import finite
from loop.terminal import AS_JSON, FOLDER, print_pairs, print_table, read_user, shorten
from loop.verify import prune as pruning
from loop.verify import repair as repairs
from loop.verify import replay as training
from loop.verify import run as verification
from sandbox.address import has_ledger
from sandbox.foreign import read_file
from sandbox.heads import open_ledger

STATEMENT_BYTES = 4_000_000
"""Longest file for `heirloop compute --check`."""
FOLDERS = click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@FOLDER
@click.option(
    "--heads",
    type=click.Path(path_type=Path),
    help="A copy of the signed heads that somebody kept elsewhere, an auditor for instance.",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Record nothing in the run where it fails, as for somebody else's copy.",
)
@AS_JSON
def verify(folder: Path, heads: Path | None, read_only: bool, as_json: bool) -> None:
    """Recompute a run, or an export of runs, from its bytes; a failure is an incident of the run,
    where its record still holds.
    """
    if _is_export(folder):
        counts = verify_export(folder, heads)
    elif read_only:
        counts = verification.verify(folder, heads)
    else:
        counts = verification.verify_and_record(folder, heads)
    # Faults against rules newer than the ledger are told, and fail nothing.
    findings = counts.pop("findings", [])
    counts |= {f"finding {number}": text for number, text in enumerate(findings, 1)}
    breaches = [
        f"the record holds, and accord {one.accord[:12]} is broken ({one.finding.rule}):"
        f" {one.finding.text}"
        for one in counts.pop("breaches", [])
    ]
    counts |= {f"breach {number}": text for number, text in enumerate(breaches, 1)}
    print_pairs(counts, ["checked", "count"], as_json)
    if breaches:
        raise VerificationFailed(breaches[0])


def _is_export(folder: Path) -> bool:
    """Tell whether a folder is an export and no run."""
    if has_ledger(folder):
        return False
    return (folder / "manifest.json").exists() or any(folder.glob("entries-*.jsonl"))


@click.command()
@FOLDER
@click.option("--from", "copy", type=Path, help="A copy of the run, for stored files.")
@AS_JSON
def repair(folder: Path, copy: Path | None, as_json: bool) -> None:
    """Put back signed heads and stored files that a run lost; the ledger is never touched.

    Heads come from the other of their two places, files from a copy by their digests. Afterwards
    the run verifies, or a sentence says what is still wrong.
    """
    print_pairs(repairs.repair(folder, copy), ["put back", "count"], as_json)


@click.command()
@FOLDER
@click.option("--dry", is_flag=True, help="Only count; drop nothing.")
@AS_JSON
def prune(folder: Path, dry: bool, as_json: bool) -> None:
    """Drop the weights of a finished run that no verification reads; the ledger says which.

    Champions keep theirs. It cannot be undone.
    """
    print_pairs(pruning.prune(folder, read_user(), dry), ["what", "value"], as_json)


@click.command()
@FOLDER
@click.argument("plan")
@AS_JSON
def replay(folder: Path, plan: str, as_json: bool) -> None:
    """Retrain a plan's first replicate, or run its agent again, and compare bytes."""
    print_pairs(training.replay(folder, plan), ["what", "value"], as_json)


@click.command()
@FOLDER
def report(folder: Path) -> None:
    """Write report.html, report.json and summary.json again from the ledger."""
    make.again(folder)
    click.echo(str(folder / "report.html"))


@click.command()
@FOLDERS
@click.option(
    "--to",
    default="build/compare",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for report.html and report.json.",
)
def compare(folders: tuple[Path, ...], to: Path) -> None:
    """Write a report of several runs: seeds of a study are its repeats, different studies stand
    side by side.
    """
    comparison = make.compare(folders, to)
    studies = len(comparison.studies)
    click.echo(f"{to / 'report.html'}: {len(folders)} runs of {studies} studies")


@click.command()
@FOLDERS
@AS_JSON
def ablate(folders: tuple[Path, ...], as_json: bool) -> None:
    """Tell what each change of the last champions carries of the gain: taken back alone, with its
    loss.
    """
    runs = [Run(number, open_ledger(folder)) for number, folder in enumerate(folders)]
    read = finite(measure_ablation(runs))
    if as_json:
        click.echo(json.dumps(read))
        return
    rows = [
        [
            row.arm,
            f"{row.change} = {row.values}" if row.values else row.change,
            "" if row.having is None else f"{row.having} of {row.champions}",
            _write_figure(row.loss),
            _write_figure(row.share),
            row.loss["word"] or row.share["word"] or row.loss["unit"],
        ]
        for row in list_ablation(read)
    ]
    click.echo(f"losses: {read['known']}")
    heads = ["arm", "change", "champions", "loss (95 %)", "share of the gain", "unit, or reads"]
    print_table(rows, heads, False)
    if read["note"]:
        click.echo(read["note"])


def _write_figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return ""
    return f"{shorten(figure['value'])}{_write_interval(figure['low'], figure['high'])}"


def _write_interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f" ({shorten(low) or '-'} to {shorten(high) or '-'})"


@click.command()
@FOLDERS
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--csv-only", is_flag=True, help="No Parquet.")
@click.option("--lean", is_flag=True, help="Without ledgers, jobs and looks: signed tables alone.")
@AS_JSON
def export(folders: tuple[Path, ...], to: Path, csv_only: bool, lean: bool, as_json: bool) -> None:
    """Write runs as tidy tables; `heirloop verify DIR` checks them without the runs
    (docs/export.md).
    """
    print_pairs(write_export(folders, to, not csv_only, lean), ["what", "count"], as_json)


@click.command()
@FOLDER
def cite(folder: Path) -> None:
    """Print BibTeX of the software and of a run's study."""
    click.echo(citation.cite(folder), nl=False)


@click.command()
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1)
@click.option("--since", default="", help="UTC time, such as 2026-01-31T00:00.")
@click.option("--until", default="", help="UTC time.")
@click.option(
    "--check",
    "file",
    type=click.Path(path_type=Path),
    help="Check a statement instead, with nothing but --public.",
)
@click.option(
    "--public",
    default="",
    help="Public key that must have signed it, hex; the study root has it as checkpoint_key.",
)
def compute(
    folders: tuple[Path, ...], since: str, until: str, file: Path | None, public: str
) -> None:
    """Print the signed compute statement of runs (total, peaks, per class and account) and record
    it, or check a statement.
    """
    if file:
        click.echo(json.dumps(_check_statement(file, public), indent=2))
        return
    if not folders:
        raise BadInput("FOLDERS is empty; name runs, or --check FILE --public HEX")
    click.echo(statement.publish(folders, since, until).decode())
    for folder in folders:
        call_people(folder)


def _check_statement(file: Path, public: str) -> object:
    try:
        envelope = read_file(file, STATEMENT_BYTES, follow=True)
    except OSError as error:
        raise BadInput(f"--check is {str(file)!r}; it cannot be read ({error.strerror})") from None
    return statement.check(envelope.strip(), public)
