"""The command line. Each verb imports what it needs when it is called, so that `--help` answers at
once.

Exit codes: 0 done, 2 bad input, 3 waiting for a human, 4 budget exhausted, 5 paused or stopped, 6
verification failed, 7 no usable box.
"""

import errno
import json
import sys
from pathlib import Path
from typing import Any

import click

from configs.errors import HeirloopError
from loop import terminal
from loop.command import desk, orders, plug
from loop.terminal import AS_JSON, cli

__all__ = ["cli", "desk", "main", "orders", "plug"]


def main() -> None:
    """Run the command line; one sentence and an exit code for every error of ours."""
    try:
        cli(standalone_mode=False)
    except HeirloopError as error:
        click.echo(f"heirloop: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        from sandbox.ledger import FULL

        click.echo(f"heirloop: {FULL}", err=True)
        sys.exit(5)
    except click.Abort:
        sys.exit(5)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def run(context: click.Context) -> None:
    """Run a study: heirloop run study=quickstart [group=choice] [field=value] [-m]."""
    from loop.command.run import run_with_hydra

    run_with_hydra(context.args)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def status(folder: Path, as_json: bool) -> None:
    """Show where a run stands."""
    s = _summary(folder)
    root, proof = (
        s["accounts"]["root"],
        f"proved {s['proved']}" if s["proved"] else "heirloop doctor was not run before it",
    )
    rows = [
        ["finished", s["finished"]],
        ["tier", f"{s['tier']}, {proof}"],
        ["entries", s["entries"]],
        ["plans", sum(len(g["plans"]) for g in s["generations"])],
        [
            "CPU-seconds",
            f"{root['cpu_us']['spent'] / 1e6:.1f} of {root['cpu_us']['limit'] / 1e6:.0f}",
        ],
        ["champion", s["champion"]["plan"][:12]],
        ["decided by", ", ".join(s["decided_by"])],
    ]
    terminal.table(rows, ["what", "value"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def plans(folder: Path, as_json: bool) -> None:
    """List the plans of a run."""
    rows = [
        [
            p["id"][:12],
            g["arm"],
            g["index"],
            p["change"]["class"],
            p["verdict"],
            p["shown"],
            p["computable"] if as_json else "computable" * p["computable"],
        ]
        for g in _summary(folder)["generations"]
        for p in g["plans"]
    ]
    terminal.table(
        rows,
        [
            "plan",
            "arm",
            "generation",
            "class",
            "verdict",
            "feedback",
            "computable" if as_json else "flag",
        ],
        as_json,
    )


@cli.command()
@click.argument("plan")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs/quickstart"),
    show_default=True,
)
@AS_JSON
def show(plan: str, folder: Path, as_json: bool) -> None:
    """Show one plan in full, with the nearest other weights of each scored replicate."""
    from configs.build import plain
    from loop.facts.facts import FactsReader
    from loop.facts.nearest import recorded_nearest
    from loop.people.requests import open_gate
    from sandbox.ledger import Ledger

    ledger = Ledger.file(folder / "ledger.sqlite")
    facts = FactsReader(ledger).facts()
    name = _one(facts.plans, plan)
    whole = {"digest": name, **plain(facts.plans[name])}
    verdict = facts.verdicts.get(name)
    whole["verdict"] = verdict.answer if verdict else None
    whole["criteria"] = [[c.name, c.passed] for c in verdict.criteria] if verdict else []
    whole["computable"] = open_gate(folder).computable(facts.plans[name])
    whole["nearest"] = list(recorded_nearest(ledger.entries(), name))
    whole["failures"] = list(facts.failures.get(name, []))
    terminal.table([[k, json.dumps(v)] for k, v in whole.items()], ["field", "value"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
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
    if not (folder / "ledger.sqlite").exists() and (
        (folder / "manifest.json").exists() or any(folder.glob("entries-*.jsonl"))
    ):
        from loop.export.verify import verify_export

        terminal.table(
            [[k, v] for k, v in verify_export(folder, heads).items()], ["checked", "count"], as_json
        )
        return
    from loop.verify.run import checked
    from loop.verify.run import verify as check

    terminal.table(
        [[k, v] for k, v in (check if read_only else checked)(folder, heads).items()],
        ["checked", "count"],
        as_json,
    )


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write report.html, report.json and summary.json again from the ledger."""
    from loop.report.make import again

    again(folder)
    click.echo(str(folder / "report.html"))


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to",
    default="build/compare",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for report.html and report.json.",
)
def compare(folders: tuple[Path, ...], to: Path) -> None:
    """Write one report of several runs: seeds of one study are its repeats, different studies stand
    side by side.
    """
    from loop.report.make import compare as act

    found = act(folders, to)
    click.echo(f"{to / 'report.html'}: {len(folders)} runs of {len(found.studies)} studies")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("plan")
@AS_JSON
def replay(folder: Path, plan: str, as_json: bool) -> None:
    """Retrain a plan's first replicate from its bundle and compare bytes."""
    from loop.verify.replay import replay as again

    terminal.table([[k, v] for k, v in again(folder, plan).items()], ["what", "value"], as_json)


@cli.group()
def image() -> None:
    """The image of the Docker box."""


@image.command("build")
@click.option(
    "--offline", is_flag=True, help="From debootstrap and wheels, without an image registry."
)
@click.option("--index", default="", help="A further package index, for a CPU or CUDA torch.")
@click.option(
    "--gpu", default="", help="A torch build for a GPU, such as cu126; needs an index that has it."
)
@click.option("--name", default="heirloop-box", show_default=True)
def image_build(offline: bool, index: str, gpu: str, name: str) -> None:
    """Build the image that box=docker runs."""
    from loop.plan import ROOT
    from sandbox.box.image import build

    click.echo(f"{name}: {build(name, ROOT, offline=offline, index=index, gpu=gpu)}")


@cli.command()
@click.option(
    "--box",
    "kind",
    type=click.Choice(["namespace", "docker"]),
    default="namespace",
    show_default=True,
)
@click.option("--mode", type=click.Choice(["cold", "warm"]), default="warm", show_default=True)
@click.option(
    "--only", default="", help="One row of the catalogue with its relatives, such as S06."
)
@AS_JSON
def attack(kind: str, mode: str, only: str, as_json: bool) -> None:
    """Try the attack catalogue against a box on this machine; exit 6 if anything got through."""
    from configs.errors import VerificationFailed
    from loop.attack.run import attack as act
    from loop.plan import ROOT
    from sandbox.box.docker import DockerBox
    from sandbox.box.namespace import NamespaceBox

    warm, shown = mode == "warm", sys.stderr.isatty()
    rows = act(
        lambda: (
            NamespaceBox(ROOT / ".box", warm=warm)
            if kind == "namespace"
            else DockerBox("heirloop-box", warm=warm)
        ),
        mode,
        only,
        lambda row: click.echo(f"\r{row['id']:5}", err=True, nl=False) if shown else None,
    )
    if as_json:
        click.echo(json.dumps(rows))
    else:
        head = ["id", "what", "stopped", "by", "seconds", "overuse", "said"]
        terminal.table([[terminal.yes(row[name]) for name in head] for row in rows], head, False)
    through = [row["id"] for row in rows if not row["stopped"]]
    if through:
        raise VerificationFailed(
            f"not stopped as expected in the {kind} box, {mode}: {', '.join(through)}"
        )


@cli.command()
@click.option(
    "--box",
    "kind",
    type=click.Choice(["namespace", "docker"]),
    default=None,
    help="One box; both if left out.",
)
@click.option("--runtime", default="", help="Runtime of the Docker box, such as runsc.")
@AS_JSON
def doctor(kind: str | None, runtime: str, as_json: bool) -> None:
    """Try every promise of each box on this machine, and tell the tier; exit 6 if a promise fails,
    7 if no box works.
    """
    from collections.abc import Callable

    from configs.errors import NoBox, VerificationFailed
    from loop.attack.doctor import doctor as examine
    from loop.plan import ROOT
    from loop.study.box import remember_tiers
    from sandbox.box.base import Box
    from sandbox.box.docker import DockerBox
    from sandbox.box.namespace import NamespaceBox

    makes: dict[str, Callable[[], Box]] = {
        "namespace": lambda: NamespaceBox(ROOT / ".box"),
        "docker": lambda: DockerBox("heirloop-box", runtime=runtime, warm=True),
    }
    rows, tiers = examine(
        {name: make for name, make in makes.items() if kind in (None, name)}, ROOT
    )
    remember_tiers(tiers)
    best = min(tiers.values(), default="")
    if as_json:
        click.echo(json.dumps({"rows": rows, "tiers": tiers, "tier": best}))
    else:
        head = ["box", "probe", "promised", "proved", "figure"]
        terminal.table([[terminal.yes(row[name]) for name in head] for row in rows], head, False)
        click.echo(
            f"tier: {best or 'none'}" + "".join(f"; {name} {tier}" for name, tier in tiers.items())
        )
    failed = [
        f"{row['box']} {row['probe']}"
        for row in rows
        if not row["proved"] and row["probe"] != "start"
    ]
    if failed:
        raise VerificationFailed(f"promises that do not hold here: {', '.join(failed)}")
    if not tiers:
        raise NoBox("no box works here; the table says why and names the remedy")


@cli.command()
@click.argument("task", default="addition")
@click.option(
    "--null",
    type=click.Choice(["real", "simulated"]),
    default="simulated",
    show_default=True,
    help=(
        "real: candidates that differ from the champion in seed alone, trained here; simulated:"
        " campaigns drawn from those scores."
    ),
)
@click.option(
    "--unattended", is_flag=True, help="Sign the unattended mandate that the trainings need."
)
@AS_JSON
def calibrate(task: str, null: str, unattended: bool, as_json: bool) -> None:
    """Measure how often each acceptance rule keeps noise; goes on where it was interrupted."""
    from loop.calibrate.rules import calibrate as act

    shown = sys.stderr.isatty()
    found = act(
        task,
        null,
        unattended=unattended,
        say=lambda text: click.echo(f"\r{text:40}", err=True, nl=False) if shown else None,
    )
    if as_json:
        click.echo(json.dumps(found))
        return
    head = ["null", "campaigns", "false_keep_rate", "upper", "fake_gain", "power", "replicates"]
    rows = [
        [name, *(_short(row[key]) for key in head)]
        for name, one in found["rules"].items()
        for row in (one, *one.get("others", {}).values())
    ]
    terminal.table(rows, ["rule", *(name.replace("_", " ") for name in head)], False)
    click.echo(
        f"alpha {found['alpha']:g}; noise of "
        + ", ".join(f"{k} (n {n}, deviation {sd:g})" for k, (n, sd) in found["noise"].items())
    )


@cli.command()
@click.option("--gain", required=True, type=float, help="True gain to see, in units of the metric.")
@click.option(
    "--target", type=float, default=None, help="Probability of seeing it; default: objective.power."
)
@click.option("--deviation", type=float, help="Seed deviation of one run; default: the task's.")
@click.argument("overrides", nargs=-1)
@AS_JSON
def power(
    gain: float,
    target: float | None,
    deviation: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell how many replicates, CPU-seconds and campaigns a question needs, in the study that
    OVERRIDES compose.
    """
    from loop.calibrate.power import power as act

    rows = act(overrides, gain=gain, target=target, deviation=deviation)
    terminal.table(
        [list(row.values()) if as_json else [_short(v) for v in row.values()] for row in rows],
        list(rows[0]),
        as_json,
    )


@cli.command()
@click.option(
    "--world",
    "worlds",
    multiple=True,
    help="A planted world, or the path of a file that defines WORLD; all if left out.",
)
@click.option("--studies", default=200, show_default=True, help="Studies drawn from each world.")
@AS_JSON
def validate(worlds: tuple[str, ...], studies: int, as_json: bool) -> None:
    """Prove the instruments on worlds whose truth is known; exit 6 if an interval or a word does
    not hold.
    """
    from configs.build import plain
    from configs.errors import VerificationFailed
    from loop.calibrate.worlds import list_failures
    from loop.calibrate.worlds import validate as act

    shown = sys.stderr.isatty()
    rows, called = act(
        worlds,
        studies,
        lambda name: click.echo(f"\r{name:40}", err=True, nl=False) if shown else None,
    )
    if as_json:
        click.echo(json.dumps({"instruments": plain(rows), "words": plain(called)}))
    else:
        terminal.table(
            [[_short(v) for v in plain(r).values()] for r in rows if r.truth is not None],
            list(plain(rows[0])),
            False,
        )
        terminal.table(
            [[c.world, c.word, terminal.yes(c.true), c.called, c.n] for c in called],
            ["world", "word", "true", "said", "studies"],
            False,
        )
    if found := list_failures(rows, called):
        raise VerificationFailed("; ".join(found))


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@AS_JSON
def instruments(folders: tuple[Path, ...], as_json: bool) -> None:
    """Measure runs of one study, seeds as repeats: closure, amplification, loss
    (docs/instruments.md); gains only of studies that ended.
    """
    from loop.instruments.measure import flatten, measure

    found = measure(folders)
    if as_json:
        click.echo(json.dumps(found))
    else:
        rows = [
            [name, f"{_short(value)}{_ends(low, high)}", _short(n), word or unit]
            for name, (value, low, high, n, unit, word) in flatten(found)
        ]
        terminal.table(rows, ["instrument", "value (95 %)", "n", "unit, or what it reads"], False)


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--csv-only", is_flag=True, help="No Parquet.")
@AS_JSON
def export(folders: tuple[Path, ...], to: Path, csv_only: bool, as_json: bool) -> None:
    """Write runs as tidy tables that `heirloop verify DIR` checks without the runs
    (docs/export.md).
    """
    from loop.export.write import export as act

    terminal.table(
        [[k, v] for k, v in act(folders, to, not csv_only).items()], ["what", "count"], as_json
    )


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def cite(folder: Path) -> None:
    """Print BibTeX of the software and of a run's study."""
    from loop.export.cite import cite as act

    click.echo(act(folder), nl=False)


def _ends(low: float | None, high: float | None) -> str:
    return (
        "" if low is None and high is None else f" ({_short(low) or '-'} to {_short(high) or '-'})"
    )


def _short(value: Any) -> Any:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else value


def _facts(folder: Path) -> Any:
    from loop.facts.facts import FactsReader
    from sandbox.ledger import Ledger

    return FactsReader(Ledger.file(folder / "ledger.sqlite")).facts()


def _summary(folder: Path) -> dict[str, Any]:
    from loop.facts.facts import FactsReader
    from loop.facts.summary import make_summary
    from sandbox.ledger import Ledger

    ledger = Ledger.file(folder / "ledger.sqlite")
    return make_summary(ledger, FactsReader(ledger).facts())


def _one(known: Any, prefix: str) -> str:
    from configs.errors import BadInput

    found: list[str] = [name for name in known if name.startswith(prefix)]
    if len(found) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin exactly one plan's digest, {len(found)} match"
            " (`heirloop plans RUN`)"
        )
    return found[0]
