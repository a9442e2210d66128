"""Results of the named studies: archives, figures, tables of instruments, and the claims.

Commands (H is .venv/bin/heirloop, P is .venv/bin/python):

    H mandate grant --unattended study=NAME && H run study=NAME    runs it; again goes on
    H unseal RUN --arm ARM                         opens sealed for campaigns with a champion
    P tests/bench/studies.py fetch                 build/archives/NAME.tar.xz of each study
    P tests/bench/studies.py collect NAME RUN...   makes an archive anew, and its figures
    P tests/bench/studies.py table NAME [PART...]  rows of its instruments, as Markdown
    P tests/bench/studies.py levels NAME ARM...    scores of champion and baseline at the close
    P tests/bench/studies.py closing NAME          mean gain of the closing looks
    P tests/bench/studies.py confirmed NAME        confirmations and accepts per run and arm
    P tests/bench/studies.py claims [write]        holds docs/studies/claims.md against archives

Archives lie in the history of this repository, outside the working tree (tests/archives.py). To
check one alone: `tar -xJf build/archives/NAME.tar.xz -C build && heirloop verify build/NAME`.
"""

import csv
import hashlib
import io
import lzma
import math
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

import archives  # noqa: E402

STUDIES = ROOT / "docs" / "studies"
HEIRLOOP = str(ROOT / ".venv" / "bin" / "heirloop")
FIGURES = ("gains", "rungs", "automation", "funnel")


def fetch(*names: str) -> None:
    """Copy the archives of these studies, or of all, from history to build/archives."""
    for name in names or archives.digests():
        print(archives.path_of(name))


def collect(name: str, *runs: str) -> None:
    """Make an archive: whole for studies of the first edition, lean for those of a later one."""
    lean = [] if name.endswith("-v1") and name in archives.digests() else ["--lean"]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / name
        subprocess.run(
            [HEIRLOOP, "export", *runs, "--csv-only", *lean, "--to", str(made)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run([HEIRLOOP, "verify", str(made)], check=True)
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for path in sorted(
                made.iterdir(), key=lambda path: path.stat().st_size
            ):  # what is read for a table comes before the ledger
                info = archive.gettarinfo(path, f"{name}/{path.name}")
                info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
                with path.open("rb") as file:
                    archive.addfile(info, file)
        archives.FOLDER.mkdir(parents=True, exist_ok=True)
        packed = lzma.compress(data.getvalue(), preset=9 | lzma.PRESET_EXTREME)
        (archives.FOLDER / f"{name}.tar.xz").write_bytes(packed)
        print(f"{hashlib.sha256(packed).hexdigest()}  {name}.tar.xz  (archives.sha256)")
        subprocess.run(
            [HEIRLOOP, "compare", *runs, "--to", f"{folder}/page"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        figures(name, Path(folder) / "page" / "report.json")
    if len(runs) == 1:
        paper_figures(name, Path(runs[0]))


def paper_figures(name: str, run: Path) -> None:
    """Write the figures that a study with write-ups has in its paper, in the same way."""
    from loop.report.paper import make_paper
    from loop.report.study import read_runs

    page = make_paper(read_runs([run])[0])
    for figure in ("replicates", "review"):
        drawn = re.search(rf'<svg [^>]*class="{figure}".*?</svg>', page, re.DOTALL)
        if drawn:
            text = re.sub("currentColor", "#202020", drawn[0])
            (STUDIES / f"{name}-{figure}.svg").write_text(text, encoding="utf-8")


def figures(name: str, page: Path) -> None:
    """Write the report's figures as files of their own, white behind them, since a file does not
    know the page's colours.
    """
    from configs.build import parse, strict_json
    from loop.report.figures import draw
    from loop.report.shape import Report

    found = parse(Report, strict_json(page.read_bytes(), limit=10**9))
    tables = [t for s in found.sections for t in s.tables if t.name in FIGURES]
    arms = list(
        dict.fromkeys(
            r[0] for s in found.sections for t in s.tables if t.name == "arms" for r in t.rows
        )
    )
    for one in tables:
        drawn = draw([one], arms)
        if drawn:
            at = (
                f"{name}-{one.name}"
                if len(found.studies) == 1
                else f"{name}-{one.name}-{one.study.removeprefix(f'{name}-')}"
            )
            (STUDIES / f"{at}.svg").write_text(
                re.sub("currentColor", "#202020", drawn), encoding="utf-8"
            )


def rows(name: str, table: str) -> list[dict[str, str]]:
    """Return the rows of a table of an archive."""
    with tarfile.open(archives.path_of(name)) as archive:
        file = archive.extractfile(
            next(member for member in archive if member.name == f"{name}/{table}.csv")
        )
        assert file
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))


def levels(name: str, *arms: str) -> None:
    """Mean scores of champion and baseline in the closing looks, and the mean gain of pairs on
    log-odds: how much of a loss is the ceiling's.
    """
    plans = {
        p["plan"]: p
        for p in rows(name, "plans")
        if p["purpose"] in ("final", "larger") and p["arm"] in arms
    }
    found: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for r in rows(name, "replicates"):
        if r["plan"] in plans and r["split"] == "confirm":
            plan = plans[r["plan"]]
            mine = found.setdefault((plan["arm"], plan["purpose"], plan["repeat"]), {})
            mine.setdefault(r["role"], []).append(float(r["exact_match_share"]))
    for arm, purpose in dict.fromkeys(key[:2] for key in found):
        sides = [
            [statistics.mean(v[role]) for key, v in found.items() if key[:2] == (arm, purpose)]
            for role in ("predict", "champion-predict")
        ]
        odds = [statistics.mean(map(odd, side)) for side in sides]
        print(
            f"{arm}, {purpose}: champion {statistics.mean(sides[0]):.3f}, baseline"
            f" {statistics.mean(sides[1]):.3f}, gain"
            f" {statistics.mean(sides[0]) - statistics.mean(sides[1]):.3f}; log-odds of the"
            f" campaigns' means {odds[0] - odds[1]:.2f}"
        )


def closing(name: str) -> None:
    """Mean gain of the closing looks of each run and arm, on fresh seeds, with its interval."""
    from evals.intervals import mean

    looks = [p for p in rows(name, "plans") if p["purpose"] == "final" and p["gain_metric"]]
    for study, arm in dict.fromkeys((p["study"], p["arm"]) for p in looks):
        mine = [p["gain_metric"] for p in looks if (p["study"], p["arm"]) == (study, arm)]
        one = mean([float(gain) for gain in mine], "")
        print(f"{study[:12]} {arm}: {one.value:.4f} ({one.low:.4f} to {one.high:.4f}), n {one.n}")


def confirmed(name: str) -> None:
    """How many confirmations accepted (exact interval), measured exactly nothing, and at most; the
    spread of single scores; generations lived.
    """
    from evals.intervals import share

    plans, scores = (
        rows(name, "plans"),
        [
            r
            for r in rows(name, "replicates")
            if r["split"] == "confirm" and r["role"] == "champion-predict"
        ],
    )
    for study, arm in dict.fromkeys(
        (p["study"], p["arm"]) for p in plans if p["purpose"] == "candidate"
    ):
        mine = [
            p for p in plans if (p["study"], p["arm"], p["purpose"]) == (study, arm, "candidate")
        ]
        done = [p for p in mine if p["verdict"]]
        gains = [float(p["gain_metric"]) for p in done if p["gain_metric"]]
        one = share(sum(p["verdict"] == "accept" for p in done), len(done))
        lived = sorted(
            max(int(p["generation"]) for p in mine if p["repeat"] == r)
            for r in {p["repeat"] for p in mine}
        )
        print(
            f"{study[:12]} {arm}: {len(done)} of {len(mine)} confirmed, accepted {one.value:.1%}"
            f" ({one.low:.1%} to {one.high:.1%}); {sum(abs(g) < 1e-12 for g in gains)} measured 0,"
            f" the largest {max(map(abs, gains)):.4f}; generations {lived[0]} to {lived[-1]}"
        )
    print(
        "deviation of single scores of champions on gate:"
        f" {statistics.pstdev(float(r['exact_match_share']) for r in scores):.3f}"
    )


def odd(share: float) -> float:
    return math.log(share / (1 - share))


def instruments(name: str) -> list[dict[str, str]]:
    """Return the rows of an archive's instruments.csv."""
    return rows(name, "instruments")


def told(row: dict[str, str]) -> str:
    """Return a row's figure as the pages write it: value (low to high), or the word."""

    def short(text: str) -> str:
        try:
            return f"{float(text):.3g}" if abs(float(text)) < 1000 else f"{float(text):.0f}"
        except ValueError:
            return text

    ends = (
        f" ({short(row['low']) or 'unbounded'} to {short(row['high']) or 'unbounded'})"
        if row["low"] or row["high"]
        else ""
    )
    comma = ", " if (row["value"] or ends) and row["reads"] else ""
    return f"{short(row['value'])}{ends}{comma}{row['reads']}".strip()


def table(name: str, *parts: str) -> None:
    print("| instrument | value (95 %) | n | unit |\n|---|---|---|---|")
    for row in instruments(name):
        if all(part in row["instrument"] for part in parts[:1]) and (
            len(parts) < 2 or any(p in row["instrument"] for p in parts[1:])
        ):
            print(f"| {row['instrument']} | {told(row)} | {row['n_count']} | {row['unit']} |")


CLAIM = re.compile(
    r"^\| (?P<claim>[^|]+) \| (?P<value>[^|]*) \| (?P<n>[^|]*) \| `(?P<study>[a-z0-9-]+)`(?P<group>"
    r" [0-9]+)?: `(?P<row>[^`]+)` \|"
)


def claims(how: str = "") -> None:
    """Hold every claim's value against its archive; with `write` fill them in."""
    path, wrong, kept = STUDIES / "claims.md", 0, dict[str, list[dict[str, str]]]()
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        said = CLAIM.match(line)
        if not said:
            continue
        rows = kept.setdefault(said["study"], instruments(said["study"]))
        (row,) = [
            r
            for r in rows
            if r["instrument"] == said["row"] and r["group"] == (said["group"] or "1").strip()
        ]
        right = (told(row), row["n_count"])
        if right != (said["value"].strip(), said["n"].strip()):
            wrong += 1
            print(
                f"{said['claim']}: {said['value'].strip()}, n {said['n'].strip()}; the archive has"
                f" {right[0]}, n {right[1]}"
            )
            rest = line.split("|")
            lines[number] = "|".join([*rest[:2], f" {right[0]} ", f" {right[1]} ", *rest[4:]])
    if how == "write":
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif wrong:
        sys.exit(f"{wrong} claims do not hold")


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (fetch, collect, table, levels, closing, confirmed, claims)}
    if sys.argv[1:2] == [] or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
