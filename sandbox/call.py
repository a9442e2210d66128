"""The way of a study to an outside model: `call(sandbox, request, grant)`, and no other.

It checks the grant against the recorded plan and every byte to send. It reserves the worst case in
tokens and money, asks, and settles by the endpoint's own count; without a count the reservation
stands. It records question and answer by digest. It follows no redirect, reads no proxy or netrc,
and stays within the endpoint's seconds and bytes. The key comes from the environment for a single
request, goes into a single header and is blotted out of the answer. The answer is data: it is
stored, and never run here.
"""

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from configs.build import strict_json
from configs.entries import CallEntry
from configs.errors import BadInput, VerificationFailed
from configs.records import Amount, Call, Endpoint, Grant, ModelReply, Plan
from configs.settings.config import Config
from sandbox import budget, incident
from sandbox.canonical import canonical, digest
from sandbox.endpoint import Received, ask
from sandbox.run import Sandbox, end_call, granted_plan

FINISHES = ("stop", "length", "content_filter", "tool_calls")


def call(
    sandbox: Sandbox, request: Call, grant: Grant, stopped: Callable[[], bool] = lambda: False
) -> ModelReply:
    """Ask a granted question and return its answer, with the text in the store.

    `stopped` ends it early. Raises VerificationFailed (grant, plan or bytes do not match),
    BudgetExhausted (nothing was reserved), NeedsHuman (the grant's basis ended), Halted (a person
    or a tripwire holds the study), BadInput (the key's variable is not set).
    """
    secret, name = key(request.endpoint), digest(request)
    with incident.refusals(
        sandbox.ledger, "call", "money and tokens that nobody granted", request.plan
    ):
        plan = granted_plan(sandbox.gate, grant)
        body = sandbox.store.get(request.body)
        if not (
            allowed(plan, request, grant, sandbox.gate.refresh().memory.rules.config)
            and exact(request, body)
        ):
            raise VerificationFailed(
                f"the question is not the one that the grant for plan {grant.plan[:12]} allows;"
                " nothing was asked"
            )
        reserved, payers = request.worst(), sandbox.gate.payers(grant)
        with sandbox.ledger.transaction() as txn:
            sandbox.gate.launch(txn, grant)
            budget.reserve(txn, payers, reserved)
            begun = CallEntry(
                grant=grant, call=request, digest=name, accounts=payers, reserved=reserved
            )
            txn.append(begun)
    wall, cpu = time.monotonic_ns(), time.thread_time_ns()
    received = ask(
        request.endpoint,
        body,
        secret,
        lambda: stopped() or sandbox.gate.refresh().memory.halt in ("stop", "drill"),
    )
    used = Amount(
        cpu_us=(time.thread_time_ns() - cpu) // 1000,
        wall_us=(time.monotonic_ns() - wall) // 1000,
        output_bytes=len(received.data),
    )
    answer, echoed = judged(sandbox, request, received, used, secret)
    with sandbox.ledger.transaction() as txn:
        entry = end_call(txn, begun, answer)
        if echoed or answer.status in ("breach", "redirect", "huge"):
            what = (
                "the endpoint wrote the study's key into its answer"
                if echoed
                else f"{answer.status}: {answer.detail}"
            )
            incident.report(
                txn,
                what,
                detector="door",
                plan=request.plan,
                artifacts=(request.body,),
                chain=(entry.sequence,),
                containment=(
                    "blotted out"
                    if echoed
                    else "not followed, not read on, the whole reservation is charged"
                ),
            )
    return answer


def allowed(plan: Plan, request: Call, grant: Grant, config: Config) -> bool:
    """Tell whether a grant of this plan allows a question.

    It must go to the study's own endpoint and keep within its bounds.
    """
    same = (request.plan, "ask", request.index) == (grant.plan, grant.role, grant.index)
    return (
        same
        and plan.purpose == "propose"
        and request.endpoint == config.proposer.llm
        and request.size <= request.endpoint.prompt_bytes
    )


def exact(request: Call, data: bytes) -> bool:
    """Tell whether bytes are a question of this endpoint.

    They hold its model and its bounds, and nothing else that could cost.
    """
    try:
        body = strict_json(data, limit=request.endpoint.prompt_bytes)
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        messages = [
            {"role": str(m["role"]), "content": str(m["content"])} for m in body["messages"]
        ]
        again = question(request.endpoint, messages, int(body["seed"]), schema)
    except (BadInput, AttributeError, KeyError, TypeError, ValueError):
        return False
    return again == data and len(data) == request.size


def question(
    endpoint: Endpoint, messages: Sequence[Mapping[str, str]], seed: int, schema: Mapping[str, Any]
) -> bytes:
    """Return the bytes of a question: chat messages, and the endpoint's bounds.

    `schema` counts if the endpoint takes a schema.
    """
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": endpoint.temperature,
        "seed": seed,
        "stream": False,
        endpoint.limit_field: endpoint.answer_tokens,
    }
    if endpoint.structured == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "proposal", "strict": True, "schema": schema},
        }
    elif endpoint.structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    return canonical(body)


def key(endpoint: Endpoint) -> str:
    """Return the endpoint's key from this process's environment; empty without need of a key.

    Raises BadInput, never with the key.
    """
    secret = os.environ.get(endpoint.key_variable, "") if endpoint.key_variable else ""
    if endpoint.key_variable and not (
        8 <= len(secret) <= 4000 and secret.isascii() and secret.isprintable() and " " not in secret
    ):
        raise BadInput(
            "the variable that key_variable names holds no key of 8 to 4000 printable characters;"
            " export the key, or leave the name empty"
        )
    return secret


def judged(
    sandbox: Sandbox, request: Call, received: Received, used: Amount, secret: str
) -> tuple[ModelReply, bool]:
    """Return the answer to record, and whether the key stood in it. The text goes into the store,
    the key blotted out.
    """
    whole = Amount(
        cpu_us=used.cpu_us,
        wall_us=used.wall_us,
        output_bytes=used.output_bytes,
        tokens=request.worst().tokens,
        money_micros=request.worst().money_micros,
    )
    if received.status != "ok":
        by = "reservation" if received.sent else "nothing"
        return (
            ModelReply(
                status=received.status,
                detail=received.detail,
                charged=whole if received.sent else used,
                charged_by=by,  # type: ignore[arg-type]
            ),
            False,
        )
    try:
        answer = strict_json(received.data, limit=request.endpoint.answer_bytes)
        choice = answer["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise TypeError
    except (BadInput, AttributeError, KeyError, IndexError, TypeError):
        return (
            ModelReply(
                status="malformed",
                detail="the answer is no chat completion in strict JSON",
                charged=whole,
                charged_by="reservation",
            ),
            False,
        )
    clean = blotted(text, secret)
    finish = choice.get("finish_reason") if choice.get("finish_reason") in FINISHES else ""
    text_fields = {"text": sandbox.store.put(clean.encode()), "finish": finish}
    tokens = _usage(answer)
    if tokens is None:
        return (
            ModelReply(
                status="ok", detail="", charged=whole, charged_by="reservation", **text_fields
            ),
            clean != text,
        )
    money = request.endpoint.money(*tokens)
    if sum(tokens) > whole.tokens or money > whole.money_micros:
        breach = (
            f"it says that it used {sum(tokens)} tokens, where at most {whole.tokens} were"
            " asked for"
        )
        return (
            ModelReply(
                status="breach",
                detail=breach,
                charged=whole,
                charged_by="reservation",
                **text_fields,
            ),
            clean != text,
        )
    spent = Amount(
        cpu_us=used.cpu_us,
        wall_us=used.wall_us,
        output_bytes=used.output_bytes,
        tokens=sum(tokens),
        money_micros=money,
    )
    return ModelReply(
        status="ok", detail="", charged=spent, charged_by="usage", **text_fields
    ), clean != text


def _usage(found: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the tokens of question and answer by the endpoint's own count, None without such
    numbers.
    """
    usage = found.get("usage")
    counts = (
        [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        if isinstance(usage, dict)
        else []
    )
    known = [n for n in counts if type(n) is int and 0 <= n < 2**53]
    return (known[0], known[1]) if len(known) == 2 else None


def blotted(text: str, secret: str) -> str:
    """Return text without the key, as it is, as in an address, or in base64; other disguises are
    not recognised.
    """
    if not secret:
        return text
    plain64 = base64.b64encode(secret.encode()).decode()
    for form in (secret, quote(secret, safe=""), plain64, plain64.rstrip("=")):
        text = text.replace(form, "[key]")
    return text
