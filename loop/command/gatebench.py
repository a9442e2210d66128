"""Verbs of gates under test: measure a pack's harm, ask a gate, read its figures, certify it."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from configs.build import need, plain
from configs.errors import BadInput
from loop.command.prove import UNATTENDED
from loop.gatebench import certificate, figures, frontier, layers, sealed
from loop.gatebench.answers import list_sentences, write_harm, write_rate
from loop.gatebench.canaries import measure_canaries
from loop.gatebench.harm import measure_harm
from loop.gatebench.play import SHEET, name_bench, play, refine_for
from loop.gatebench.settings import compose_bench
from loop.instruments.run import Run
from loop.terminal import (
    AS_JSON,
    ask_passphrase,
    confirm_digest,
    need_terminal,
    print_answers,
    print_json,
    print_pairs,
    print_table,
    shorten,
    show_progress,
    write_truth,
)
from sandbox import intoto, keys
from sandbox.address import has_ledger
from sandbox.canonical import digest
from sandbox.files import replace_file
from sandbox.foreign import read_file
from sandbox.heads import open_ledger


@click.group()
def gatebench() -> None:
    """Test gates on sabotage whose harm was measured (docs/your-gate.md)."""


@gatebench.command("harm", context_settings={"ignore_unknown_options": True})
@click.argument("pack")
@click.argument("overrides", nargs=-1)
@click.option("--minutes", type=float, default=None, help="Stop after so many; the next goes on.")
@UNATTENDED
@AS_JSON
def harm(
    pack: str, overrides: tuple[str, ...], minutes: float | None, unattended: bool, as_json: bool
) -> None:
    """Train both sides of each family of PACK beside the baseline, and tell which families harm."""
    say = show_progress(70, as_json)
    result = measure_harm(
        pack, minutes=minutes, unattended=unattended, overrides=overrides, say=say
    )
    rows = result.pop("rows")
    if as_json:
        print_pairs({**result, "rows": rows}, ["what", "value"], True)
        return
    head = list(rows[0]) if rows else []
    print_table([[shorten(write_truth(row[key])) for key in head] for row in rows], head, False)
    print_pairs({key: shorten(value) for key, value in result.items()}, ["what", "value"], False)
    if result["left"]:
        click.echo("sides are left to measure; the same command goes on with them")


@gatebench.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("overrides", nargs=-1)
@AS_JSON
def run_bench(overrides: tuple[str, ...], as_json: bool) -> None:
    """Show a gate the plans of packs, blind and in random order, and print its figures."""
    folder = play(compose_bench(overrides), show_progress(10, as_json))
    _print(figures.measure(folder), as_json)
    if not as_json:
        click.echo(f"answers are in {folder}; `heirloop gatebench show {folder}` reads them again")


@gatebench.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def show_bench(folder: Path, as_json: bool) -> None:
    """Print the figures of a gate that was tested, or of the canaries of an attended study."""
    if (folder / SHEET).exists() or not has_ledger(folder):
        _print(figures.measure(folder), as_json)
        return
    told = measure_canaries(folder)
    if as_json:
        click.echo(json.dumps(told))
        return
    answers = [
        ("Do canaries pass?", write_rate(told["escape"], "canaries escaped")),
        ("Are their twins stopped?", write_rate(told["false_block"], "twins were stopped")),
    ]
    print_answers([*answers, ("At what price?", f"{told['minutes']} minutes of people")])


@gatebench.command("compare")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), default=Path("build/gates"))
@AS_JSON
def compare_benches(folders: tuple[Path, ...], to: Path, as_json: bool) -> None:
    """Write gates.csv and the frontier of several gates: harm let through against gain kept."""
    told, pairs = frontier.compare(folders, to)
    rows = [row for one in told for row in one["rows"] if row["pack"] == "all"]
    if as_json:
        click.echo(json.dumps(rows))
        return
    _print_rows(rows)
    print_answers(_tell_pairs(pairs))
    click.echo(f"{to}/gates.csv, {to}/pairs.csv and {to}/frontier.svg are written")


def _tell_pairs(pairs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return how many pairs of gates differ on the same plans, as questions and answers."""
    if not pairs:
        return [("Do they differ?", "not told: no two of them were shown the same plans")]
    return [
        (
            question,
            f"{sum(row[f'{name}_p_family'] <= 0.05 for row in pairs)} of {len(pairs)} pairs differ"
            " (McNemar, 5 % over all pairs)",
        )
        for question, name in (("In what escapes?", "escapes"), ("In what is blocked?", "blocks"))
    ]


@gatebench.command("seal")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--opener", "openers", multiple=True, help="Key that may open it; several times.")
@click.option("--to", type=click.Path(path_type=Path), default=None, help="The sealed file.")
def seal_pack(pack: Path, openers: tuple[str, ...], to: Path | None) -> None:
    """Seal a pack of your own: it is opened by signature, and every opening is counted."""
    path = to or pack.with_suffix(sealed.SUFFIX)
    head = sealed.seal(pack, openers, path)
    click.echo(f"{path}: {head.families} families, opened by {', '.join(head.openers)}")


@gatebench.command("open", context_settings={"ignore_unknown_options": True})
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--key", required=True, help="Key that opens it.")
def open_pack(file: Path, overrides: tuple[str, ...], key: str) -> None:
    """Open a sealed pack for one bench, given by its OVERRIDES; the opening counts."""
    bench = compose_bench([f"packs=[{file}]", *overrides])
    need_terminal("a sealed pack is opened by a person at a terminal; run this there")
    signer = keys.open_key(key, ask_passphrase())
    count = sealed.open_for(str(file), name_bench(bench), key, signer)
    click.echo(f"{file} is open for {bench.name}; it was opened {count} times in all")


@gatebench.command("layers")
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def show_layers(folder: Path, as_json: bool) -> None:
    """Tell which layer stopped each attack of a run with proposer=hostile and a pack."""
    attacks = layers.list_attacks(Run(0, open_ledger(folder)))
    told = layers.count_layers(attacks)
    if as_json:
        click.echo(json.dumps({**told, "plans": plain(attacks)}))
        return
    times = told["time_to_stop"]
    rows = [
        [layer, count, *_write_times(times.get(layer, {}))]
        for layer, count in told["layers"].items()
    ]
    print_table(
        rows, ["ended at", "attacks", "seconds to the stop", "longest", "CPU-s each"], False
    )
    through = write_rate(told["through"], "attacks became champion")
    print_answers(
        [
            ("Did harm get through all layers?", through),
            ("How much?", write_harm(told["harm_reached"])),
        ]
    )


def _write_times(times: dict[str, float | None]) -> list[str]:
    """Return (median, longest, CPU-seconds) as text; a dash where nothing was stopped."""
    values = [times.get(name) for name in ("median_s", "longest_s", "cpu_s")]
    return ["–" if value is None else f"{value:.1f}" for value in values]


@gatebench.command("refine", context_settings={"ignore_unknown_options": True})
@click.argument("overrides", nargs=-1)
@click.option("--queries", default=8, show_default=True, help="Queries a family may spend.")
@click.option("--to", type=click.Path(path_type=Path), default=Path("build/refined.jsonl"))
@AS_JSON
def refine_pack(overrides: tuple[str, ...], queries: int, to: Path, as_json: bool) -> None:
    """Adapt packs to a gate within a number of queries, and write the pack that came of it."""
    bench = compose_bench(overrides)
    result = refine_for(bench, queries, to)
    print_pairs(result, ["what", "value"], as_json)
    if not as_json:
        click.echo(f"`heirloop gatebench run packs=[{to}]` shows the gate what was refined")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--key", default="", help="Evaluator's key that signs.")
@click.option("--at-most", type=float, default=None, help="Escape rate that it is to certify.")
@click.option("--days", default=90, show_default=True, help="Days until it expires.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="File of the envelope.")
@click.option("--check", "public", default="", help="Check FOLDER, a certificate, by this key.")
def certify(
    folder: Path, key: str, at_most: float | None, days: int, out: Path | None, public: str
) -> None:
    """Sign what a bench showed of its gate, and what it cannot show; or check a certificate."""
    if public:
        print_json(certificate.check(read_certificate(folder), public))
        return
    need(bool(key), "--key", key, "the name of the evaluator's key, or give --check PUBLIC")
    statement = certificate.draw_up_statement(folder, at_most, days, int(time.time()))
    print_json(statement)
    need_terminal("a certificate is signed by a person at a terminal; run this there")
    signer = keys.open_key(key, ask_passphrase())
    confirm_digest(f"digest {digest(statement)}", digest(statement))
    path = out or folder / "certificate.json"
    replace_file(path, intoto.sign(statement, signer))
    click.echo(f"{path}: signed by {key}, {keys.public_hex(signer)}")


def read_certificate(path: Path) -> bytes:
    """Return the bytes of a certificate's file; raises BadInput where there is none."""
    try:
        return read_file(path, intoto.MOST_BYTES, follow=True)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from None


def _print(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told["rows"]))
        return
    _print_rows(told["rows"])
    print_answers(list_sentences(told))


def _print_rows(rows: list[dict[str, Any]]) -> None:
    head = list(figures.COLUMNS)
    print_table([[shorten(row[name]) for name in head] for row in rows], head, False)
