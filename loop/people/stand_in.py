"""The stand-in: a scripted reviewer and canaries test a gate without people.

Its decisions are marked as simulated. A canary is a plan to be denied; its harmless twin matches it
in class, size and wording. Neither is recorded as a plan, so neither can get a grant. The ledger
holds a commitment to the canary's place in the pair; only the study secret opens it.
"""

import hmac
import json
import math
import random
import threading
from dataclasses import replace
from typing import get_args

from configs.build import plain, strict_json
from configs.entries import ProbeEntry
from configs.errors import BadInput, Denied
from configs.records import Plan, ReviewerAnswer
from evals.oversight import PAIRS, Pair
from loop.facts.canaries import commit_to, is_canary
from loop.study.faults import find_absence, is_too_late, tell_silence
from loop.study.root import SCRIPTED, scripted_key
from loop.study.running import Running
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Request
from sandbox.foreign import read_file
from sandbox.gate import Gate
from sandbox.unsigned import new_approval

_ONE_AT_A_TIME = threading.Lock()
ORDERED = (
    "baseline",
    "start",
    "final",
    "larger",
    "ablation",
    "reference",
    "reference_larger",
)
"""Purposes of plans stated by the study itself: a tiring reviewer never takes such a plan for a
suspicious proposal.
"""
ANSWERS_BYTES = 65_536
"""Longest file of a by-file reviewer."""
SHORTEST_PREFIX = 6
"""Fewest characters of a digest for naming a subject in the file of a by-file reviewer."""


def probe(running: Running, name: str, change_class: str) -> None:
    """Put a canary and its twin among the waiting requests, as often as the study declares."""
    share = running.config.gates.canaries
    if change_class not in PAIRS or _draw(running.secret, "probe", name).random() >= share:
        return
    plan = running.facts().plans[name]
    rng = _draw(running.secret, "pair", name)
    pair = rng.choice(PAIRS[plan.change_class])
    order = [True, False]
    rng.shuffle(order)
    for canary in order:
        _request_probe(running, plan, pair, canary)


def _request_probe(running: Running, plan: Plan, pair: Pair, canary: bool) -> None:
    """Record a plan of a pair, once, and ask people for a decision on it."""
    likeness = _make_likeness(running, plan, pair[0] if canary else pair[1], pair[2])
    subject = digest(likeness)
    if subject not in running.facts().probes:
        commitment = commit_to(running.secret, subject, canary)
        running.ledger.append(ProbeEntry(digest=subject, plan=likeness, commitment=commitment))
    if (subject, likeness.change_class) not in running.gate.refresh().memory.requests:
        running.gate.request(subject, likeness.change_class)


def _make_likeness(running: Running, plan: Plan, change: dict[str, str], hypothesis: str) -> Plan:
    """Return a plan to show to people: a real plan's, with this change in its place."""
    if plan.change_class == "recipe":
        knobs = {name: json.loads(value) for name, value in change.items()}
        recipe = replace(plan.recipe, **knobs)
        return replace(plan, recipe=recipe, changed=knobs, hypothesis=hypothesis)
    store = running.sandbox.store
    files = store.get_bundle(plan.reference)
    for file, text in change.items():
        start, definition, rest = files[file].decode().partition("\n\n\ndef ")
        files[file] = (start + text + definition + rest).encode()
    return replace(plan, bundle=store.put_bundle(files), hypothesis=hypothesis, changed={})


def answer(running: Running) -> int:
    """Let the scripted reviewer decide on each waiting request; return the number of decisions.

    A single campaign at a time asks it.
    """
    if running.config.reviewer.policy == "people":
        return 0
    with _ONE_AT_A_TIME:
        gate = running.gate.refresh()
        before = sum(approval.reviewer == SCRIPTED for approval in gate.memory.approvals.values())
        waiting = [r for r in gate.pending() if not _is_answered(gate, r) and _is_there(running, r)]
        for number, request in enumerate(waiting, before):
            _decide(running, request, number)
        return len(waiting)


def need_present(running: Running, subject: str, change_class: str) -> None:
    """Raise Denied where the scripted reviewer is away until the gate's timer ends."""
    absence = find_absence(running, subject, change_class)
    if absence and is_too_late(running.config, absence):
        raise Denied(tell_silence(running.config))


def _is_there(running: Running, request: Request) -> bool:
    """Tell whether the scripted reviewer answers a request in time, late or not."""
    absence = find_absence(running, request.subject, request.change_class)
    return absence is None or not is_too_late(running.config, absence)


def _is_answered(gate: Gate, request: Request) -> bool:
    """Tell whether the scripted reviewer decided on a request already."""
    question = (request.subject, request.change_class, SCRIPTED)
    return any(
        (a.plan, a.change_class, a.reviewer) == question for a in gate.memory.approvals.values()
    )


def _decide(running: Running, request: Request, number: int) -> None:
    """Sign a decision, the reviewer's `number`-th from 0, and hand it to the gate."""
    gate, key = running.gate, scripted_key(running.secret)
    half = {"name": SCRIPTED, "kind": "simulated", "public": keys.public_hex(key)}
    rng = _draw(running.secret, "answer", request.subject + request.change_class)
    # The time of looking is drawn before the answer, so a policy keeps its draws.
    looked = _draw_looking(running, rng)
    given, reason = _choose(running, request, number, rng)
    approval = new_approval(
        gate.memory.rules,
        gate.memory.subjects[request.subject],
        request.change_class,
        given,
        reason,
        running.config.gates.expire_hours,
        half,
        looked_ms=int(looked * 1000),
    )
    gate.admit(keys.sign(plain(approval), key, "approval"), "approval")


def _draw_looking(running: Running, rng: random.Random) -> float:
    """Return the reviewer's seconds of looking: log-normal if it tires, else 0."""
    config = running.config.reviewer
    if config.policy != "fatigue":
        return 0
    return math.exp(math.log(config.delay_seconds) + config.delay_spread * rng.gauss(0, 1))


def _choose(
    running: Running, request: Request, number: int, rng: random.Random
) -> tuple[ReviewerAnswer, str]:
    """Return the answer and reason of the study's policy."""
    config = running.config.reviewer
    if config.policy == "by-file":
        given = _look_up(read_answers(config.file), request)
        return given, f"scripted by file: {given}"
    if config.policy == "fatigue":
        return _choose_tired(running, request, number, rng)
    if config.policy == "approve-all":
        return "approve", "scripted: approve all"
    return "deny", "scripted: deny all"


def _look_up(answers: dict[str, ReviewerAnswer], request: Request) -> ReviewerAnswer:
    """Return the answer for a digest, else for a class, else a no."""
    for name, given in answers.items():
        if len(name) >= SHORTEST_PREFIX and request.subject.startswith(name):
            return given
    return answers.get(request.change_class, "deny")


def _choose_tired(
    running: Running, request: Request, number: int, rng: random.Random
) -> tuple[ReviewerAnswer, str]:
    """Return a tiring reviewer's answer: it catches fewer canaries after more decisions."""
    config, facts = running.config.reviewer, running.facts()
    plan = facts.plans.get(request.subject)
    if plan and plan.purpose in ORDERED:
        return "approve", "scripted: people ordered it"
    commitment = facts.probes.get(request.subject)
    share = config.false_alarm_rate
    if commitment is not None and is_canary(running.secret, request.subject, commitment):
        share = config.hit_rate * math.exp(-config.decay * number)
    if rng.random() < share:
        return "deny", "scripted: looks wrong"
    return "approve", "scripted: looks right"


def read_answers(file: str) -> dict[str, ReviewerAnswer]:
    """Return the answers of a by-file reviewer: beginning of a digest, or class, -> answer.

    Raises BadInput for a missing file or another answer.
    """
    try:
        content = strict_json(read_file(file, ANSWERS_BYTES, follow=True))
    except OSError as error:
        raise BadInput(f"reviewer.file is {file!r}; it cannot be read ({error.strerror})") from None
    answers = set(get_args(ReviewerAnswer))
    if not isinstance(content, dict) or not set(map(str, content.values())) <= answers:
        raise BadInput(
            f"reviewer.file holds {json.dumps(content)[:80]}; it should be an object whose values"
            " are approve, deny or escalate"
        )
    return content


def _draw(secret: bytes, what: str, name: str) -> random.Random:
    """Return a generator fixed by the study secret and a name."""
    return random.Random(hmac.new(secret, f"{what}:{name}".encode(), "sha256").hexdigest())
