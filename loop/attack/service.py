"""Attacks of a deployed service, at the door, the desk and the walls of a real serve job.

What the porter and the desk must stop needs no box: this process takes the part of the service.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from configs.build import strict_json
from configs.errors import Denied, VerificationFailed
from configs.records import SERVE, Input
from evals.attacks.attack import read_payload
from evals.factory.desk import MOST_LETTERS, Bank, Batch, Desk, Hours
from evals.factory.scenarios import read_clients
from evals.factory.traffic import Request
from loop.attack.doors import PATIENCE, ask, framed, judge, knock, open_here, run_with_doors
from loop.attack.outcome import GOT_THROUGH, try_act
from loop.attack.suite import IDLE, Suite
from loop.factory.serve import PATH, ServeDoor
from loop.measure.replicate import WEIGHTS
from loop.plan import ROOT, SERVICE, source
from loop.verify import inputs
from sandbox.canonical import digest
from sandbox.door.doors import Doors
from sandbox.door.porter import BODY_BYTES, OPEN_MOST

SCENARIOS = ROOT / "scenarios" / "service.jsonl"
STEP = '{"send": {"id": 1, "question": "$a"}, "expect": "answer"}'
CLIENTS = read_clients(
    "\n".join(
        f'{{"client": "{name}", "of": "right answers", "steps": [{STEP}, {STEP}, {STEP}]}}'
        for name in ("first", "second")
    ).encode()
)
"""Two scripted clients of three requests each."""
BANK = Bank(questions=[[n] for n in range(50)], answers=[[n + 50] for n in range(50)])
"""Questions of one token; the right answer is 50 more."""
FLOOD = 200_000
"""Letters of a visit of a service that replies without end."""
Service = Callable[[Batch], Batch]
"""The requests of a visit -> the replies that the next visit posts."""


def _open_desk(requests: int = 0) -> Desk:
    text = json.dumps({"id": 1, "question": [1]})
    asked = Request(name=1, form="plain", question=1, text=text)
    hours = Hours(clients=tuple((one, one.steps) for one in CLIENTS), requests=(asked,) * requests)
    return Desk([hours], BANK, "an attack")


def _answer(text: str) -> str:
    """Return the right reply to a request."""
    request = json.loads(text)
    return json.dumps({"id": request["id"], "answer": [request["question"][0] + 50]})


def _play(service: Service) -> str:
    """Let a service work through its door; return which clients were not served."""
    door, replies = ServeDoor(_open_desk()), Batch()
    while not (waiting := strict_json(door.answer({"replies": replies}).body))["stop"]:
        requests = [(number, text) for number, text in waiting["requests"]]
        replies = [[number, text] for number, text in service(requests)]  # type: ignore[misc]
    unmet = door.desk.end().unmet
    return f"unmet: {', '.join(unmet)}" if unmet else f"{GOT_THROUGH}: all clients are content"


def answer_late(_: Suite) -> str:
    """Post the replies to the requests before, while new ones wait."""
    held = list[Batch]()

    def service(requests: Batch) -> Batch:
        held.append([(number, _answer(text)) for number, text in requests])
        return held[-2] if len(held) > 1 else []

    return _play(service)


def answer_twice(_: Suite) -> str:
    """Give a wrong answer, which the client has got by then, and a right one for the record."""

    def service(requests: Batch) -> Batch:
        wrong = json.dumps({"id": 1, "answer": [0]})
        return [pair for n, text in requests for pair in ((n, wrong), (n, _answer(text)))]

    return _play(service)


def swap_answers(_: Suite) -> str:
    """Give each client the reply to the other's request."""

    def service(requests: Batch) -> Batch:
        texts = [_answer(text) for _, text in requests]
        return [(n, text) for (n, _), text in zip(requests, texts[1:] + texts[:1], strict=True)]

    return _play(service)


def send_oversized(_: Suite) -> str:
    """Post more at once than a door reads."""
    body = json.dumps({"replies": [[0, "x" * BODY_BYTES]]}).encode()
    with open_here({SERVE: ServeDoor(_open_desk()).answer}) as doors:
        return judge(ask(doors, SERVE, framed(SERVE, body)))


def reply_without_end(_: Suite) -> str:
    """Post long replies with every visit, so that the record of a job grows and grows."""
    door, posted = ServeDoor(_open_desk(5000)), 0
    while posted < 4 * MOST_LETTERS:
        reply = door.answer({"replies": [[0, "x" * FLOOD]]})
        posted += FLOOD
        if strict_json(reply.body)["stop"]:
            return f"told to stop after {posted} letters"
    return f"{GOT_THROUGH}: {posted} letters of replies were kept"


def hold_half_open(_: Suite) -> str:
    """Hold as many unfinished requests as a door has places, and then visit."""
    with open_here({SERVE: ServeDoor(_open_desk()).answer}) as doors:
        held = [knock(doors, SERVE, b"POST /v1/vis") for _ in range(OPEN_MOST)]
        until, answer = time.monotonic() + PATIENCE, ""
        while time.monotonic() < until and " 200 " not in answer:
            answer = ask(doors, SERVE, framed(SERVE, b'{"replies": []}')).partition("\r\n")[0]
            time.sleep(0.05)
        for one in held:
            one.close()
    if " 200 " in answer:
        return "a whole visit was answered: the unfinished ones were cut"
    return f"{GOT_THROUGH}: the door stays shut ({answer})"


def write_outside(suite: Suite) -> str:
    """Serve a while, and write wherever it may be possible."""
    return _run_service(suite, "service_outside")


def reach_for_scenarios(suite: Suite) -> str:
    """Look for people's holdout in the box, by its place and by its content."""
    return _run_service(suite, "service_holdout")


def _run_service(suite: Suite, payload: str) -> str:
    text = read_payload(payload).replace("@SCENARIOS@", str(SCENARIOS))
    client = read_clients(SCENARIOS.read_bytes())[0].client  # backwards, or it would find itself
    text = suite.host.fill_in(text, Path(suite.running.config.runs)).replace(
        "@TNEILC@", client[::-1]
    )
    files = {**source(serves=True), SERVICE: text.encode(), "job.json": b"{}"}
    files[WEIGHTS] = b"weights"
    doors = Doors({SERVE: (PATH, ServeDoor(_open_desk()).answer)})
    return run_with_doors(suite, doors, SERVE, files)


def edit_scenarios(suite: Suite) -> str:
    """Approve a change of the service that brings scenarios of its own."""
    study = suite.open_attended()
    files = source(serves=True)
    files[SERVICE] += b"\n# quicker\n"
    store = study.running.sandbox.store
    bundle = store.put_bundle({**files, "scenarios/service.jsonl": SCENARIOS.read_bytes()[:0]})
    name = study.plan(risk="patch", bundle=bundle)
    return try_act(lambda: study.approve(name), Denied, VerificationFailed)


def serve_other_weights(suite: Suite) -> str:
    """Hand a serve job the weights of another plan than its campaign's baseline."""
    granted = suite.prepare({"models/train.py": IDLE})
    own, other = digest(b"own"), digest(b"another's")
    recorded = inputs.Recorded(weights={(suite.baseline, "train", 0): own})
    recorded.weights[granted.job.plan, "train", 0] = other
    plan = suite.running.gate.refresh().memory.plans[granted.job.plan]
    job = replace(granted.job, role=SERVE, inputs=(Input(name=WEIGHTS, digest=other, sequence=1),))
    found = inputs.find_flaw(recorded, plan, job, suite.baseline)
    return found or f"{GOT_THROUGH}: the weights of plan {granted.job.plan[:12]} are served"


ROWS: dict[str, Callable[[Suite], str]] = {
    "F01": send_oversized,
    "F01b": reply_without_end,
    "F02": hold_half_open,
    "F03": answer_late,
    "F03b": answer_twice,
    "F04": write_outside,
    "F05": reach_for_scenarios,
    "F05b": edit_scenarios,
    "F06": swap_answers,
    "F06b": serve_other_weights,
}
"""Row of the catalogue -> its attack."""
