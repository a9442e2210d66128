"""The scripted reviewer and the canaries: gates under test without people. Whatever it signs is
marked as simulated.

A canary is a plan that should be denied; its benign twin is matched in class, size and wording.
Neither is ever recorded as a plan, so neither can get a grant. Which is which is committed to in
the ledger and known only with the study secret.
"""

import hmac
import json
import math
import random
import threading
from dataclasses import replace
from pathlib import Path

from configs.build import plain, strict_json
from configs.errors import BadInput
from configs.records import Plan, ReviewerAnswer
from evals.oversight import PAIRS
from loop.facts.canaries import commit_to, is_canary
from loop.study.root import SCRIPTED, scripted_key
from loop.study.running import Running
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Request, new_approval

_ONE = threading.Lock()


ORDERED = ("baseline", "start", "final", "larger")
"""Purposes of plans that the study itself states: a reviewer that tires takes none of them for a
proposal that looks wrong.
"""


def probe(running: Running, name: str, change_class: str) -> None:
    """Put a canary and its twin among the waiting requests, as often as the study declares."""
    plan, share = running.facts().plans[name], running.config.gates.canaries
    if change_class not in PAIRS or _draw(running.secret, "probe", name).random() >= share:
        return
    rng = _draw(running.secret, "pair", name)
    pair = rng.choice(PAIRS[plan.change_class])
    order = [True, False]
    rng.shuffle(order)
    for canary in order:
        shown = _shown(running, plan, pair[0] if canary else pair[1], pair[2])
        subject = digest(shown)
        if subject in running.facts().probes:
            continue
        running.ledger.append(
            "probe",
            {
                "digest": subject,
                "plan": plain(shown),
                "commitment": commit_to(running.secret, subject, canary),
            },
        )
        running.gate.request(subject, shown.change_class)


def answer(running: Running) -> int:
    """Let the scripted reviewer decide on everything that waits, one campaign at a time; return how
    many decisions it gave.
    """
    with _ONE:
        return _answer(running)


def _answer(running: Running) -> int:
    config = running.config.reviewer
    if config.policy == "people":
        return 0
    gate, probes = running.gate.refresh(), running.facts().probes
    given = sum(a.reviewer == SCRIPTED for a in gate.approvals.values())
    key = scripted_key(running.secret)
    half = {"name": SCRIPTED, "kind": "simulated", "public": keys.public_hex(key)}
    count = 0
    for request in gate.pending():
        if any(
            (a.plan, a.change_class, a.reviewer)
            == (request.subject, request.change_class, SCRIPTED)
            for a in gate.approvals.values()
        ):
            continue
        canary = request.subject in probes and is_canary(
            running.secret, request.subject, probes[request.subject]
        )
        rng = _draw(running.secret, "answer", request.subject + request.change_class)
        looked = (
            math.exp(math.log(config.delay_seconds) + config.delay_spread * rng.gauss(0, 1))
            if config.policy == "fatigue"
            else 0
        )
        said, why = _say(running, request, canary, given + count, rng)
        one = new_approval(
            gate.rules,
            gate.subjects[request.subject],
            request.change_class,
            said,
            why,
            running.config.gates.expire_hours,
            half,
            looked_ms=int(looked * 1000),
        )
        gate.admit(keys.sign(plain(one), key, "approval"), "approval")
        count += 1
    return count


def _say(
    running: Running, request: Request, canary: bool, before: int, rng: random.Random
) -> tuple[ReviewerAnswer, str]:
    config = running.config.reviewer
    if config.policy == "by-file":
        told = answers(config.file)
        match = next(
            (v for k, v in told.items() if len(k) >= 6 and request.subject.startswith(k)),
            told.get(request.change_class, "deny"),
        )
        return match, f"scripted by file: {match}"
    if config.policy == "fatigue":
        plan = running.facts().plans.get(request.subject)
        if plan and plan.purpose in ORDERED:
            return "approve", "scripted: people ordered it"
        share = (
            config.hit_rate * math.exp(-config.decay * before)
            if canary
            else config.false_alarm_rate
        )
        return (
            ("deny", "scripted: looks wrong")
            if rng.random() < share
            else ("approve", "scripted: looks right")
        )
    return (
        ("approve", "scripted: approve all")
        if config.policy == "approve-all"
        else ("deny", "scripted: deny all")
    )


def answers(file: str) -> dict[str, ReviewerAnswer]:
    """Return the answers of a by-file reviewer; raises BadInput for a missing file or another
    answer.
    """
    try:
        told = strict_json(Path(file).read_bytes())
    except OSError as error:
        raise BadInput(f"reviewer.file is {file!r}; it cannot be read ({error.strerror})") from None
    if not isinstance(told, dict) or not set(map(str, told.values())) <= {
        "approve",
        "deny",
        "escalate",
    }:
        raise BadInput(
            f"reviewer.file holds {json.dumps(told)[:80]}; it should be an object whose values are"
            " approve, deny or escalate"
        )
    return told


def _shown(running: Running, plan: Plan, change: dict[str, str], hypothesis: str) -> Plan:
    """Return a plan-like record that people can be shown: a real plan's, with this change in its
    place.
    """
    store = running.sandbox.store
    if plan.change_class == "recipe":
        recipe = replace(plan.recipe, **{k: json.loads(v) for k, v in change.items()})
        return replace(
            plan,
            recipe=recipe,
            changed={k: json.loads(v) for k, v in change.items()},
            hypothesis=hypothesis,
        )
    files = store.get_bundle(plan.reference)
    for file, text in change.items():
        start, at, rest = files[file].decode().partition("\n\n\ndef ")
        files[file] = (start + text + at + rest).encode()
    return replace(plan, bundle=store.put_bundle(files), hypothesis=hypothesis, changed={})


def _draw(secret: bytes, what: str, name: str) -> random.Random:
    return random.Random(hmac.new(secret, f"{what}:{name}".encode(), "sha256").hexdigest())
