"""Verbs for proof of the testbed. They try its boxes against attacks and its rules on noise. They
try its instruments on worlds with a known truth, and a task of your own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from configs.build import need, plain
from configs.errors import BadInput, NoBox, VerificationFailed
from evals.gatebench import rates
from loop.attack import doctor as promises
from loop.attack import run as catalogue
from loop.calibrate import power as sizes
from loop.calibrate import rules, worlds
from loop.calibrate.own import check_own
from loop.calibrate.table_worlds import WORLDS
from loop.plan import ROOT
from loop.study.box import remember_tiers
from loop.terminal import AS_JSON, print_pairs, print_table, shorten, show_progress, write_truth
from sandbox.box.base import Box
from sandbox.box.docker import DockerBox
from sandbox.box.gpu import describe_device
from sandbox.box.image import build
from sandbox.box.namespace import NamespaceBox

IMAGE = "heirloop-box"
UNATTENDED = click.option(
    "--unattended", is_flag=True, help="Sign the unattended mandate that the trainings need."
)


@click.group()
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
@click.option("--name", default=IMAGE, show_default=True)
def build_image(offline: bool, index: str, gpu: str, name: str) -> None:
    """Build the image of box=docker."""
    click.echo(f"{name}: {build(name, ROOT, offline=offline, index=index, gpu=gpu)}")


@click.command()
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
    warm = mode == "warm"
    progress = show_progress(5, as_json)

    def make_box() -> Box:
        if kind == "namespace":
            return NamespaceBox(ROOT / ".box", warm=warm)
        return DockerBox(IMAGE, warm=warm)

    rows = catalogue.attack(make_box, mode, only, lambda row: progress(row["id"]))
    if as_json:
        click.echo(json.dumps(rows))
    else:
        _print_rows(rows, ["id", "what", "stopped", "by", "seconds", "overuse", "said"])
    through = [row["id"] for row in rows if not row["stopped"]]
    if through:
        raise VerificationFailed(
            f"not stopped as expected in the {kind} box, {mode}: {', '.join(through)}"
        )


@click.command()
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
    makers: dict[str, Callable[[], Box]] = {
        "namespace": lambda: NamespaceBox(ROOT / ".box"),
        "docker": lambda: DockerBox(IMAGE, runtime=runtime, warm=True),
    }
    chosen = {name: make for name, make in makers.items() if kind in (None, name)}
    rows, tiers = promises.doctor(chosen, ROOT)
    if unwritten := remember_tiers(tiers):
        click.echo(unwritten, err=True)
    best = min(tiers.values(), default="")
    if as_json:
        told = {"rows": rows, "tiers": tiers, "tier": best, "device": describe_device()}
        click.echo(json.dumps(told))
    else:
        _print_rows(rows, ["box", "probe", "promised", "proved", "figure"])
        each = "".join(f"; {name} {tier}" for name, tier in tiers.items())
        click.echo(f"tier: {best or 'none'}{each}")
        click.echo(f"device: {describe_device()}")
    _need_promises(rows, tiers)


def _need_promises(rows: list[dict[str, Any]], tiers: dict[str, str]) -> None:
    """Raise VerificationFailed where a promise fails, NoBox where no box works."""
    broken = [row for row in rows if not row["proved"] and row["probe"] != "start"]
    if broken:
        names = ", ".join(f"{row['box']} {row['probe']}" for row in broken)
        raise VerificationFailed(f"promises that do not hold here: {names}")
    if not tiers:
        raise NoBox("no box works here; the table says why and names the remedy")


@click.command()
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
@UNATTENDED
@AS_JSON
def calibrate(task: str, null: str, unattended: bool, as_json: bool) -> None:
    """Measure how often each acceptance rule keeps noise; goes on where it was interrupted."""
    results = rules.calibrate(task, null, unattended=unattended, say=show_progress(40, as_json))
    if as_json:
        click.echo(json.dumps(results))
        return
    head = ["null", "campaigns", "false_keep_rate", "upper", "fake_gain", "power", "replicates"]
    rows = []
    for name, rule in results["rules"].items():
        for row in (rule, *rule.get("others", {}).values()):
            rows.append([name, *(shorten(row[key]) for key in head)])
    print_table(rows, ["rule", *(name.replace("_", " ") for name in head)], False)
    noise = [f"{key} (n {n}, deviation {sd:g})" for key, (n, sd) in results["noise"].items()]
    click.echo(f"alpha {results['alpha']:g}; noise of {', '.join(noise)}")


@click.command()
@click.option("--gain", type=float, help="True gain to see, in units of the metric.")
@click.option(
    "--target", type=float, default=None, help="Probability of seeing it; default: objective.power."
)
@click.option("--deviation", type=float, help="Seed deviation of one run; default: the task's.")
@click.option(
    "--like",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An ended RUN whose spread between campaigns says how many repeats a study needs.",
)
@click.option("--escapes", type=float, help="Escape rate of a gate that a bench is to bound.")
@click.option(
    "--prevalence", type=float, default=1.0, help="Share of harmful plans among all, for --escapes."
)
@click.argument("overrides", nargs=-1)
@AS_JSON
def power(
    gain: float | None,
    target: float | None,
    deviation: float | None,
    like: tuple[Path, ...],
    escapes: float | None,
    prevalence: float,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute how many pairs and CPU-seconds a confirmation needs in the study of these OVERRIDES,
    with --like how many repeats a difference between arms needs, or with --escapes how many
    harmful families bound a gate's escape rate.
    """
    if escapes is not None:
        need(gain is None and not like, "--gain/--like", "given", "left out with --escapes")
        rows = [rates.families_needed(escapes, prevalence, number) for number in range(3)]
        print_table([list(row.values()) for row in rows], list(rows[0]), as_json)
        return
    if gain is None:
        raise BadInput("--gain is missing; give the true gain to see, or --escapes")
    if like:
        right = "left out with --like, whose runs have settings and spread of their own"
        need(not overrides, "OVERRIDES", " ".join(overrides), right)
        need(deviation is None, "--deviation", deviation, right)
        rows = sizes.list_repeats(like, gain=gain, target=target)
    else:
        rows = sizes.power(overrides, gain=gain, target=target, deviation=deviation)
    cells = [list(row.values()) for row in rows]
    if not as_json:
        cells = [[shorten(value) for value in row] for row in cells]
    print_table(cells, list(rows[0]), as_json)


@click.command()
@click.option(
    "--world",
    "names",
    multiple=True,
    help=(
        "A planted world, `table`, or the path of a file that defines WORLD; all planted ones if"
        " left out."
    ),
)
@click.option("--table", default="", help="File of recorded trainings, for --world table.")
@click.option(
    "--studies",
    type=int,
    default=None,
    help="Studies of each planted world (200), or of all worlds of a table together (400).",
)
@click.option(
    "--campaigns",
    default=worlds.CAMPAIGNS,
    show_default=True,
    help="Campaigns of each arm for the truth of a world of a table.",
)
@click.option("--worlds", "count", default=WORLDS, show_default=True, help="Worlds of a table.")
@click.option(
    "--processes",
    default=1,
    show_default=True,
    help="Processes that share the worlds of a table.",
)
@AS_JSON
def validate(
    names: tuple[str, ...],
    table: str,
    studies: int | None,
    campaigns: int,
    count: int,
    processes: int,
    as_json: bool,
) -> None:
    """Prove the instruments on worlds of known truth; exit 6 if an interval or a word does not
    hold.

    Failures on tables that are known and listed are printed, and change no exit code.
    """
    asked = worlds.Asked(
        names=names,
        table=table,
        studies=studies,
        campaigns=campaigns,
        worlds=count,
        processes=processes,
    )
    rows, words = worlds.validate(asked, show_progress(40, as_json))
    described, known = [row.describe() for row in rows], worlds.list_known(rows, words)
    if as_json:
        read = {"instruments": described, "words": plain(words), "known failures": known}
        click.echo(json.dumps(read))
    else:
        checked = [row.values() for row in described if row["truth"] is not None]
        cells = [[shorten(value) for value in row] for row in checked]
        print_table(cells, list(described[0]), False)
        cells = [[w.world, w.word, write_truth(w.true), w.called, w.n] for w in words]
        print_table(cells, ["world", "word", "true", "said", "studies"], False)
        for line in known:
            click.echo(f"known: {line}")
    failures = worlds.list_failures(rows, words)
    if failures:
        raise VerificationFailed("; ".join(failures))


@click.command("check")
@click.argument("file")
@click.option("--as", "kind", default="", help="task, gate or proposer; else its names tell.")
@AS_JSON
def check_file(file: str, kind: str, as_json: bool) -> None:
    """Run a task, gate or proposer of your own on a small example, and tell its mistakes."""
    print_pairs(check_own(file, kind), ["what", "value"], as_json)


def _print_rows(rows: list[dict[str, Any]], head: list[str]) -> None:
    print_table([[write_truth(row[name]) for name in head] for row in rows], head, False)
