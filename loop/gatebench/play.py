"""Play a bench: every plan of its packs, blind and in random order, once; killed, it goes on.

RUN/bench.json holds what is tested: settings, digests of packs and of programs. RUN/answers.jsonl
holds an answer a line. Each line names the digest of the line before, so an answer that was
changed, taken out or put in breaks the chain there, unless all that follow are written anew. A
certificate signs the digest of the whole file.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, VerificationFailed
from configs.settings.gatebench import Bench
from evals.gatebench.pack import Family, find_pack, read_pack, write_line
from loop.gatebench.members import Room
from loop.gatebench.outside import close_courts
from loop.gatebench.protocol import Ruling, rule
from loop.gatebench.question import Case, Desk, list_cases
from loop.gatebench.refine import refine
from loop.gatebench.sealed import is_sealed, read_head, read_opened
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file
from sandbox.foreign import read_file

SHEET, ANSWERS = "bench.json", "answers.jsonl"
MOST_BYTES = 200_000_000
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a bench tests, written before the first question."""

    format: int
    "1"
    bench: Bench
    "its settings"
    packs: dict[str, str]
    "name of a pack -> sha256 of its bytes"
    members: dict[str, str]
    "member -> sha256 of its program, or of its settings"

    @property
    def digest(self) -> str:
        """The name of the bench: everything that is tested."""
        return digest(self)

    @property
    def mix(self) -> str:
        """The name of what is shown: packs and their mix. It fixes order and simulated luck, so
        gates are compared on the same plans in the same order.
        """
        bench = self.bench
        shown = [self.packs, bench.prevalence, bench.most, bench.seed]
        return digest(shown)

    @property
    def gate(self) -> str:
        """The name of the gate: its settings and its programs, without packs and mix."""
        return digest({"gate": plain(self.bench.gate), "members": self.members})


def draw_up(bench: Bench) -> tuple[Sheet, list[tuple[str, Family]]]:
    """Return the sheet of a bench, and its families with the names of their packs.

    Raises BadInput for a pack or a program that cannot be read, NeedsHuman for a sealed pack.
    """
    packs = {name: _name_pack(name) for name in bench.packs}
    members = {name: _name_member(member) for name, member in bench.gate.members.items()}
    sheet = Sheet(format=1, bench=bench, packs=packs, members=members)
    families = [
        (name, family)
        for name in bench.packs
        for family in read_pack(read_bytes(name, sheet.digest), f"pack {name}")
    ]
    seen = [family.family for _, family in families]
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise BadInput(f"the packs both hold the families {', '.join(twice[:5])}; name one of them")
    return sheet, families


def name_bench(bench: Bench) -> str:
    """Return the digest of a bench without reading what its packs hold."""
    packs = {name: _name_pack(name) for name in bench.packs}
    members = {name: _name_member(member) for name, member in bench.gate.members.items()}
    return Sheet(format=1, bench=bench, packs=packs, members=members).digest


def _name_pack(name: str) -> str:
    return read_head(name).pack if is_sealed(name) else digest(find_pack(name))


def read_bytes(name: str, bench: str) -> bytes:
    """Return the bytes of a pack; a sealed one must have been opened for the bench."""
    return read_opened(name, bench)[0] if is_sealed(name) else find_pack(name)


def _name_member(member: Any) -> str:
    if not member.command:
        return digest(member)
    try:
        return digest(read_file(member.command, MOST_BYTES, follow=True))
    except OSError as error:
        raise BadInput(
            f"the gate's command is {member.command!r}; it cannot be read ({error.strerror})"
        ) from None


def list_order(sheet: Sheet, families: Sequence[tuple[str, Family]]) -> list[Case]:
    """Return the cases of a bench in their order; plans of one side keep theirs.

    With a prevalence, harmful families are drawn so that they are that share of all families shown,
    and no twin is.
    """
    rng = random.Random(f"order:{sheet.mix}")
    hostile = [family for _, family in families if family.hostile]
    ordinary = [family for _, family in families if not family.hostile]
    rng.shuffle(hostile)
    rng.shuffle(ordinary)
    cases = list_cases(_mix(sheet.bench, hostile, ordinary))
    if sheet.bench.prevalence is not None:
        cases = [case for case in cases if case.kind != "twin"]
    sides = list(dict.fromkeys((case.family.family, case.kind) for case in cases))
    place = {side: rng.random() for side in sides}
    return sorted(cases, key=lambda c: (place[c.family.family, c.kind], c.part))


def _mix(bench: Bench, hostile: list[Family], ordinary: list[Family]) -> list[Family]:
    if bench.prevalence is not None:
        share = bench.prevalence / (1 - bench.prevalence)
        if not hostile or not ordinary:
            raise BadInput("a prevalence needs harmful families and ordinary work in the packs")
        count = min(len(hostile), max(1, round(share * len(ordinary))))
        kept = min(len(ordinary), max(1, round(count / share)))
        hostile, ordinary = hostile[:count], ordinary[:kept]
    if not bench.most:
        return [*hostile, *ordinary]
    half = bench.most // 2 if hostile and ordinary else bench.most
    first = hostile[: max(half, bench.most - len(ordinary))]
    return [*first, *ordinary[: bench.most - len(first)]]


def play(bench: Bench, say: Say = lambda _: None) -> Path:
    """Ask the gate about every plan that has no answer yet; return the run's folder."""
    sheet, families = draw_up(bench)
    folder = Path(bench.runs) / bench.name
    _begin(folder, sheet)
    answers = read_answers(folder)
    room = Room(desk=Desk(sheet.mix), secret=sheet.mix.encode(), folder=folder)
    order = list_order(sheet, families)
    _remember(room, answers)
    last = digest(canonical(answers[-1])) if answers else sheet.digest
    try:
        with (folder / ANSWERS).open("ab") as file:
            for number, case in enumerate(order):
                if number < len(answers):
                    continue
                question = room.desk.question(case)
                ruling = rule(bench.gate, question, case, room)
                row = _write_row(number, question.digest, question.change_class, ruling, last)
                data = canonical(row)
                file.write(data + b"\n")
                file.flush()
                last = digest(data)
                say(f"{number + 1} of {len(order)} plans")
    finally:
        close_courts(room)
    return folder


def refine_for(bench: Bench, queries: int, to: Path) -> dict[str, Any]:
    """Adapt the hostile families of a bench's packs to its gate; write the pack that came of it.

    Returns {families, passed: those that the gate lets pass now, queries: plans it was asked}.
    """
    sheet, families = draw_up(bench)
    folder = to.parent / f"{to.stem}-queries"
    room = Room(desk=Desk(sheet.mix), secret=sheet.mix.encode(), folder=folder)
    try:
        found = refine([family for _, family in families], bench.gate, room, queries)
    finally:
        close_courts(room)
    if not found:
        raise BadInput("the packs hold no harmful family; name one that does")
    to.parent.mkdir(parents=True, exist_ok=True)
    replace_file(to, "".join(f"{write_line(one.family)}\n" for one in found))
    return {
        "families": len(found),
        "passed": sum(one.passed for one in found),
        "queries": sum(one.queries for one in found),
        "file": str(to),
    }


def _begin(folder: Path, sheet: Sheet) -> None:
    """Write the sheet, or refuse another one in its place."""
    path = folder / SHEET
    if path.exists():
        if read_sheet(folder) != sheet:
            raise BadInput(
                f"{folder} holds a bench of another gate, pack or mix; choose another name"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} holds something else; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, canonical(sheet))


def read_sheet(folder: Path) -> Sheet:
    """Return the sheet of a bench; raises BadInput where there is none, or a damaged one."""
    try:
        data = read_file(folder / SHEET, 1_000_000)
    except OSError as error:
        raise BadInput(f"{folder} holds no bench ({error.strerror})") from None
    return parse(Sheet, strict_json(data, 1_000_000), SHEET)


def read_answers(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a bench; a line that was cut off by a kill is taken away.

    Raises VerificationFailed where a row does not follow from the one before.
    """
    path, last = folder / ANSWERS, read_sheet(folder).digest
    try:
        data = read_file(path, MOST_BYTES)
    except OSError:
        return []
    rows: list[dict[str, Any]] = []
    whole, _, rest = data.rpartition(b"\n")
    if rest:
        replace_file(path, whole + b"\n" if whole else b"")
    for number, line in enumerate(whole.split(b"\n") if whole else []):
        try:
            row = strict_json(line, 1_000_000)
        except BadInput:
            row = {}
        if not isinstance(row, dict) or (row.get("number"), row.get("before")) != (number, last):
            raise VerificationFailed(
                f"answer {number} of {path} does not follow from the one before; the record was"
                " changed"
            )
        rows.append(row)
        last = digest(line)
    return rows


def _remember(room: Room, answers: Sequence[dict[str, Any]]) -> None:
    """Let members have read, and spent, what they did before a stop."""
    for row in answers:
        room.read[""] = room.read.get("", 0) + bool(row["said"])
        for name, said in row["said"].items():
            room.read[name] = room.read.get(name, 0) + 1
            room.spent[name] = room.spent.get(name, 0) + said["tokens"]


def _write_row(
    number: int, name: str, change_class: str, ruling: Ruling, before: str
) -> dict[str, Any]:
    return {
        "number": number,
        "before": before,
        "plan": name,
        "class": change_class,
        "answer": ruling.answer,
        "suspicion": ruling.suspicion,
        "seconds": round(ruling.seconds, 3),
        "said": {member: plain(said) for member, said in ruling.said.items()},
    }


def pair_rows(folder: Path) -> Iterator[tuple[Case, str, dict[str, Any]]]:
    """Yield each case of a played bench, the name of its pack, and its row.

    Raises VerificationFailed for a row about another plan, BadInput for a pack that changed.
    """
    sheet = read_sheet(folder)
    now, families = draw_up(sheet.bench)
    if now != sheet:
        raise BadInput(
            f"a pack or program of {folder} changed since; restore it to read the answers"
        )
    packs = {family.family: name for name, family in families}
    desk = Desk(sheet.mix)
    for case, row in zip(list_order(sheet, families), read_answers(folder), strict=False):
        if desk.question(case).digest != row["plan"]:
            raise VerificationFailed(f"answer {row['number']} of {folder} is about another plan")
        yield case, packs[case.family.family], row
