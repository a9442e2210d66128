from dataclasses import replace
from types import SimpleNamespace

import pytest
from fakes import FakeBox, outcome
from studies import better, config, mandate

from configs.entries import CampaignEndEntry
from loop.campaign import Campaign
from loop.facts.facts import Facts
from loop.facts.reader import FactsReader
from sandbox.ledger import Ledger


def test_each_entry_is_folded_once_and_the_ledger_is_never_read_whole_again(tmp_path, monkeypatch):
    ledger, folded = Ledger.file(tmp_path / "ledger.sqlite", create=True), []
    real = Facts.fold
    monkeypatch.setattr(
        Facts, "fold", lambda self, entry: (folded.append(entry.sequence), real(self, entry))[1]
    )
    monkeypatch.setattr(Ledger, "entries", lambda self: 1 / 0)
    reader = FactsReader(ledger)
    for number in range(1, 6):
        ledger.append(CampaignEndEntry(arm="local", repeat=number))
        assert len(reader.facts().ended) == number and len(reader.facts().ended) == number
    assert folded == [1, 2, 3, 4, 5]


def test_a_lean_reader_keeps_of_finished_generations_what_a_loop_still_asks_for(tmp_path, go):
    cfg = config(tmp_path, "study.generations=4")
    mandate(cfg)
    go(cfg, FakeBox(better))
    ledger = Ledger.at(tmp_path / "runs" / "t")
    whole, lean = FactsReader(ledger).facts(), FactsReader(ledger, lean=True).facts()
    assert (lean.plans, lean.champions, lean.at, lean.granted) == (
        whole.plans,
        whole.champions,
        whole.at,
        whole.granted,
    )
    old = {
        name
        for name, plan in whole.plans.items()
        if plan.purpose == "candidate" and plan.generation < 4
    }
    assert old
    assert lean.verdicts == {
        name: replace(verdict, criteria=()) if name in old - whole.crowned else verdict
        for name, verdict in whole.verdicts.items()
    }
    assert {slot for slot in lean.results if slot[0] in old} == {
        (name, "train", 0) for name in old & whole.crowned
    }
    assert {slot for slot in lean.scores if slot[0] in old} == {
        slot for slot in whole.scores if slot[0] in old and slot[1:] == ("predict", 0)
    }
    assert {slot: found for slot, found in whole.results.items() if slot[0] not in old} == {
        slot: found for slot, found in lean.results.items() if slot[0] not in old
    }
    assert lean.trainings == whole.trainings


class Moving(dict):
    """A dict to which another thread adds while its items are listed one by one."""

    def items(self):
        for count, pair in enumerate(super().items()):
            if not count:
                self["other", 0, 9, 0] = "d"
            yield pair


def test_a_campaign_asks_how_far_it_is_while_another_records():
    at = Moving({("a", 0, 1, 0): "d", ("a", 0, 2, 0): "d"})
    with pytest.raises(RuntimeError, match="changed size"):
        list(at.items())
    campaign = SimpleNamespace(
        facts=lambda: SimpleNamespace(at=at), key=("a", 0), _is_proposal=lambda name: True
    )
    assert Campaign.reached(campaign) == 2


def test_an_amendment_reopens_the_questions_of_every_proposer(tmp_path, go):
    """Their plans were for another root; those of finished generations stay."""
    many = ("task.notebook=true", "study.start_trials=8", "study.arms=[parallel_shared]")
    cfg = config(tmp_path, *many, "study.proposals=2", "study.proposers=2")
    mandate(cfg)
    line = b'{"hypothesis": "h", "knobs": {"depth": 3}}'
    written = outcome(files={"proposals.jsonl": line})
    go(cfg, FakeBox(better, lambda e: written if e.role == "propose" else None))
    facts = FactsReader(Ledger.at(tmp_path / "runs" / "t")).facts()
    key = ("parallel_shared", 0)
    asked = {(*key, 1, 1), (*key, 2, 1)}
    assert set(facts.further_asks) == asked and set(facts.asks) == {(*key, 1), (*key, 2)}
    later = [name for name, plan in facts.plans.items() if plan.generation > 2]
    for name in later:  # as if stopped in generation 2, before its closing look
        del facts.plans[name]
    facts.ended.clear()
    facts._fold_amended(SimpleNamespace(), 0)
    assert set(facts.further_asks) == {(*key, 1, 1)} and set(facts.asks) == {(*key, 1)}
