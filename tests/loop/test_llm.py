"""Studies whose proposals an outside model writes: a stub on loopback, and a box that computes nothing."""


from fakes import FakeBox
from stub_model import propose, stub
from test_architecture import ROOT
from test_cycle import better, config, entries, go, mandate

from configs.call import Endpoint
from loop.verify import verify

go
SOURCE = (ROOT / "models" / "train.py").read_text()
ENDPOINT = Endpoint(url="http://127.0.0.1:1/v1", model="stub")
KEY = "sk-canary-4f1d0b7a92"


def outside(tmp_path, server, *more):
    url = server if isinstance(server, str) else server.url
    return config(tmp_path, "proposer=llm", "study.arms=[llm]", f"proposer.llm.url={url}", "proposer.llm.seconds=5", "proposer.llm.pause_seconds=0",
                  "budget.tokens=10000000", "budget.money_micros=10000000", *more)


def kinds(cfg, kind):
    return [e.body for e in entries(cfg) if e.kind == kind]


def test_a_study_is_proposed_by_an_outside_model_and_verifies(tmp_path, go):
    with stub(propose(depth=1), propose(width=96), propose(depth=3)) as server:
        cfg = outside(tmp_path, server, "proposer.llm.prompt_price=1000000", "proposer.llm.answer_price=2000000")
        mandate(cfg)
        result = go(cfg, FakeBox(better))
    assert result["finished"] and len(server.asked) == 4
    root = result["accounts"]["root"]
    assert root["tokens"] == {"limit": 10**7, "reserved": 0, "spent": 4 * 120} and root["money_micros"]["spent"] == 4 * 140
    plans = {e.body["digest"]: e.body["plan"] for e in entries(cfg) if e.kind == "plan"}
    asks = [p for p in plans.values() if p["purpose"] == "propose"]
    assert [p["jobs"] for p in asks] == [[{"role": "ask", "count": 2}]] * 2
    mine = [p for p in plans.values() if p["purpose"] == "candidate"]
    assert all(plans[p["asked"]] in asks and p["proposal"] for p in mine) and mine[0]["changed"] == {"depth": 1}
    assert verify(tmp_path / "runs" / "t")["plans"] == len(plans)
