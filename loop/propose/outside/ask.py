"""Proposer `llm`: ask an outside model, try again after a failure, and record the answer.

prompt.py writes the question and read.py reads the answer.
"""

import time

from configs.errors import Interrupted, Lapsed, Paused
from configs.records import ENDED, RETRIED, UNUSABLE, Call, Endpoint, ModelReply
from loop.propose.outside.read import Unusable
from loop.study.running import Running
from sandbox.call import call
from sandbox.gate import Halted


def answered(r: Running, name: str, index: int, data: bytes) -> str:
    """Return the text of the answer to question `index` of a propose plan.

    It is the recorded answer, or the endpoint is asked. Raises Unusable for text that is no answer,
    Paused without an answer of the endpoint, and the errors of `call`.
    """
    endpoint, store, tried = r.config.proposer.llm, r.sandbox.store, 0
    assert endpoint is not None
    request = Call(plan=name, index=index, endpoint=endpoint, body=store.put(data), size=len(data))
    reply = r.facts().answers.get((name, index))
    while reply is None or reply.status not in ("ok", *UNUSABLE):
        if tried and reply and reply.status not in ENDED and not _again(r, endpoint, reply, tried):
            raise Paused(
                f"{endpoint.url} gives no answer ({reply.detail}; {tried} tries); mend it, and the"
                " same command goes on where it was"
            )
        if r.stopped:
            raise Interrupted("the study was stopped")
        answer = _try(r, request)
        reply, tried = answer or reply, tried + (answer is not None and answer.status not in ENDED)
    if reply.status in UNUSABLE:
        raise Unusable(f"the endpoint's answer is unusable: {reply.detail}", "")
    return store.get(reply.text).decode()


def _again(r: Running, endpoint: Endpoint, found: ModelReply, tried: int) -> bool:
    """Tell whether another try is due after a failure, and wait before it."""
    due = found.status in RETRIED and tried < endpoint.tries
    until = time.monotonic() + endpoint.pause_seconds * 2 ** (tried - 1)
    while due and time.monotonic() < until and not r.stopped:
        time.sleep(0.05)
    return due


def _try(r: Running, request: Call) -> ModelReply | None:
    """Ask once, with a grant of its own; None if people held the study meanwhile."""
    grant = r.gate.next_grant(request.plan, "ask", request.index)
    r.watch()
    try:
        return call(r.sandbox, request, grant, lambda: r.stopped)
    except Halted as held:
        r.wait(held)
        return None
    except Lapsed as lapsed:
        r.renew(request.plan, lapsed)
        return None
