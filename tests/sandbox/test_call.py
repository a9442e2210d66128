"""The other door: what an endpoint may do to the one that asks it, and what no grant allows.
Loopback alone.
"""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from stub_model import completion, dribble, endless, hang_up, say, send, silent, stub

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.records import CALL_CPU_US, TEMPLATE_TOKENS, Amount, Call, Endpoint
from sandbox.call import blotted, exact, judged, key, question
from sandbox.canonical import canonical, digest
from sandbox.endpoint import Received, ask
from sandbox.run import Sandbox
from sandbox.store import Store

SECRET = "sk-canary-4f1d0b7a92"
USER = [{"role": "user", "content": "hello"}]


def endpoint(server, **more):
    return Endpoint(
        **{
            "url": server if isinstance(server, str) else server.url,
            "model": "stub",
            "seconds": 20,
            **more,
        }
    )


def asked(server, held=lambda: False, secret="", **more):
    one = endpoint(server, **more)
    return ask(one, question(one, USER, 7, {}), secret, held)


def test_a_question_goes_to_one_path_with_its_bounds_and_the_key_in_one_header():
    with stub(say("hi")) as server:
        heard = asked(server, secret=SECRET, answer_tokens=33, limit_field="max_completion_tokens")
    assert heard.status == "ok" and heard.data == completion("hi")
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {SECRET}"
    assert (
        b'"max_completion_tokens":33' in body
        and b'"stream":false' in body
        and SECRET.encode() not in body
    )


def test_without_a_key_no_authorization_is_sent_and_no_netrc_or_proxy_is_read(
    tmp_path, monkeypatch
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with stub(say("hi")) as server:
        assert asked(server).status == "ok"
    assert "Authorization" not in server.asked[0][1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(status):
    with (
        stub(say("stolen")) as other,
        stub(send(b"", status, Location=f"{other.url}/chat/completions")) as server,
    ):
        heard = asked(server, secret=SECRET)
    assert heard.status == "redirect" and other.asked == [] and heard.data == b""


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (silent, "slow"),
        (dribble, "slow"),
        (endless, "huge"),
        (hang_up, "unreachable"),
        (send(b"", 401), "refused"),
        (send(b"{}", 404), "refused"),
        (send(b"", 429), "busy"),
        (send(b"", 503), "busy"),
        (send(b"x", 200, Content_Encoding="gzip"), "malformed"),
    ],
    ids=["silent", "dribbling", "endless", "hang up", "401", "404", "429", "503", "packed"],
)
def test_whatever_an_endpoint_does_a_try_ends_within_its_seconds_and_bytes(reply, status):
    seconds = 1 if status == "slow" else 20
    with stub(reply) as server:
        heard = asked(server, seconds=seconds, answer_bytes=100_000)
    assert heard.status == status and len(heard.data) <= 100_000 and heard.sent


def test_an_address_where_nobody_listens_costs_nothing():
    with stub(say("hi")) as server:
        url = server.url
    heard = asked(url)
    assert heard.status == "unreachable" and not heard.sent


def test_a_stop_ends_a_call_that_waits():
    held = threading.Event()
    with stub(silent) as server:
        threading.Timer(0.3, held.set).start()
        heard = asked(server, held=held.is_set, seconds=600)
    assert heard.status == "halted" and heard.sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "ftp://127.0.0.1/v1"),
        ("url", "127.0.0.1:8000"),
        ("url", "http://user:secretsecret@127.0.0.1/v1"),
        ("url", "http://h/v1?api_key=secretsecret"),
        ("url", "http://h/v1#secretsecret"),
        ("url", "http://h:99999/v1"),
        ("key_variable", "sk-secretsecret"),
        ("answer_tokens", 0),
        ("tries", 4),
    ],
)
def test_an_endpoint_that_could_carry_a_secret_or_has_no_bound_is_refused_without_showing_it(
    field, value
):
    with pytest.raises(BadInput) as error:
        parse(Endpoint, {"url": "http://127.0.0.1/v1", "model": "m", field: value})
    assert field in str(error.value) and "secretsecret" not in str(error.value)


def test_a_key_is_sent_in_clear_to_this_machine_alone():
    with pytest.raises(BadInput, match="https where a key is sent"):
        Endpoint(url="http://example.com/v1", model="m", key_variable="MODEL_KEY")
    Endpoint(url="https://example.com/v1", model="m", key_variable="MODEL_KEY")
    Endpoint(url="http://[::1]:80/v1", model="m", key_variable="MODEL_KEY")


@pytest.mark.parametrize(
    "value",
    [None, "", "short", "sk-with\nnewline-12345", "sk-with space-12345", "sk-ümlaut-1234567"],
)
def test_a_key_that_is_missing_or_no_key_is_refused_without_showing_it(monkeypatch, value):
    monkeypatch.delenv("MODEL_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MODEL_KEY", value)
    with pytest.raises(BadInput) as error:
        key(endpoint("http://127.0.0.1/v1", key_variable="MODEL_KEY"))
    assert not value or value not in str(error.value)


def test_the_worst_case_counts_every_byte_as_a_token_and_rounds_money_up():
    one = endpoint(
        "http://127.0.0.1/v1",
        answer_tokens=10,
        answer_bytes=5000,
        seconds=3,
        prompt_price=150_000,
        answer_price=600_000,
    )
    worst = one.worst(1000)
    assert worst.tokens == 1000 + TEMPLATE_TOKENS + 10
    assert worst.money_micros == 195  # 1256 x 0.15 + 10 x 0.6 = 194.4
    assert (worst.cpu_us, worst.wall_us, worst.output_bytes, worst.jobs) == (
        CALL_CPU_US,
        3_000_000,
        5000,
        0,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"n": 10},
        {"model": "dearer"},
        {"max_tokens": 10**6},
        {"stream": True},
        {"tools": []},
        {"messages": [{"role": "user", "content": "hi", "cost": 1}]},
    ],
    ids=["many answers", "another model", "longer", "stream", "tools", "a field of a message"],
)
def test_a_question_that_could_cost_more_than_it_says_is_not_the_question(change):
    one = endpoint("http://127.0.0.1/v1")
    plain = question(one, USER, 7, {})
    data = canonical({**strict_json(plain), **change})

    def said(body):
        return Call(plan="p", index=0, endpoint=one, body=digest(body), size=len(body))

    assert exact(said(plain), plain) and not exact(said(data), data)
    assert not exact(replace(said(plain), size=len(plain) - 1), plain)


def judge(tmp_path, data, secret="", **more):
    one = endpoint("http://127.0.0.1/v1", prompt_price=1_000_000, answer_price=1_000_000, **more)
    store = Store(tmp_path)
    box = Sandbox(ledger=None, store=store, box=None, gate=None)
    request, heard = (
        Call(plan="p", index=0, endpoint=one, body="", size=1000),
        Received(status="ok", detail="", data=data),
    )
    answer, echoed = judged(box, request, heard, Amount(), secret)
    return answer, echoed, store.get(answer.text).decode() if answer.text else None


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": "5", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        [1],
    ],
)
def test_without_a_count_that_can_be_read_the_reservation_stands(tmp_path, usage):
    answer, _, text = judge(tmp_path, completion("hi", usage=usage))
    assert (answer.status, answer.charged_by, text) == ("ok", "reservation", "hi")
    assert (
        answer.charged.tokens == 1000 + TEMPLATE_TOKENS + 1500
        and answer.charged.money_micros == answer.charged.tokens
    )


def test_an_endpoint_that_claims_more_than_was_asked_for_is_charged_the_reservation_and_no_more(
    tmp_path,
):
    answer, _, text = judge(tmp_path, completion("hi", usage=(10, 2**50)))
    assert (answer.status, answer.charged_by, text) == (
        "breach",
        "reservation",
        "hi",
    ) and answer.charged.tokens == 1000 + TEMPLATE_TOKENS + 1500
    assert judge(tmp_path, completion("hi", usage=(10, 5)))[0].charged.tokens == 15


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>busy</html>",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": [1]}}]}',
        b'{"choices": {"0": 1}}',
        b"[" * 100_000,
        b'{"choices": [{"message": {"content": "a", "content": "b"}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b"\xff\xfe",
        b'{"choices": [{"message": {"content": "a"}}], "usage": NaN}',
        b"null",
        b"1" * 10_000,
    ],
    ids=range(13),
)
def test_what_is_no_chat_completion_is_malformed_and_charged_in_full(tmp_path, data):
    answer, _, text = judge(tmp_path, data)
    assert (answer.status, answer.charged_by, text) == ("malformed", "reservation", None)


def test_a_refusal_is_an_answer_without_text(tmp_path):
    answer, _, text = judge(tmp_path, completion(None, refusal="I cannot help with that"))
    assert (answer.status, answer.charged_by, text) == ("ok", "usage", "")


def test_the_key_is_blotted_out_of_an_answer_however_json_writes_it(tmp_path):
    escaped = (
        completion("see HERE and K")
        .replace(b"HERE", "".join(f"\\u{ord(c):04x}" for c in SECRET).encode())
        .replace(b"K", SECRET.encode())
    )
    answer, echoed, text = judge(tmp_path, escaped, SECRET)
    assert echoed and text == "see [key] and [key]" and answer.status == "ok"
    assert not any(
        SECRET.encode() in path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()
    )
    assert (
        blotted("c2stY2FuYXJ5LTRmMWQwYjdhOTI=", SECRET) == "[key]"
        and blotted("nothing", "") == "nothing"
    )


def test_what_an_endpoint_says_of_itself_stands_nowhere(tmp_path):
    answer, _, _ = judge(tmp_path, completion("hi", finish="<script>", model="<b>", usage=(1, 1)))
    assert answer.finish == "" and "<" not in str(answer)
