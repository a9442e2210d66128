"""Recorded reviews of claims: each is what its model answered, or what its person signed.

A model's question must hold the very bytes that the entry names as shown, and its answer must give
the probability. A person's envelope must be signed by a key that the study pins. Whether those
bytes are a claim of a write-up is seen where reviews are measured: others count for nothing.
"""

from collections.abc import Sequence

from configs.build import plain
from configs.entries import (
    CallEntry,
    EndEntry,
    Entry,
    ReviewedEntry,
    ReviewsEndEntry,
    facts_of,
    lines_of,
)
from configs.errors import VerificationFailed
from configs.records import ENDED
from loop.facts.facts import Facts
from loop.facts.places import REVIEWING
from loop.people.claims import check_review, name_claim
from loop.propose.outside.claim import read_claim_answer, write_claim_question
from loop.verify.state import need
from sandbox.canonical import digest
from sandbox.decision import Policy, policy
from sandbox.store import Store


def check_reviews(entries: Sequence[Entry], facts: Facts, store: Store) -> int:
    """Check every review of a claim; return their number.

    Raises VerificationFailed with the entry.
    """
    calls = {(fact.call.plan, fact.call.index): fact for fact in facts_of(entries, CallEntry)}
    ended, told = (
        next((entry.sequence for entry, _ in lines_of(entries, kind)), None)
        for kind in (EndEntry, ReviewsEndEntry)
    )
    count = 0
    for entry, fact in lines_of(entries, ReviewedEntry):
        try:
            need(fact.plan in facts.verdicts, "it is of a plan that nobody judged")
            if fact.by == "model":
                _check_model(fact, facts, store, calls)
            else:
                _check_person(fact, _rules_at(entries, entry.sequence))
            before = ended if fact.by == "model" else told
            need(before is None or entry.sequence < before, "checks were told before it")
        except VerificationFailed as error:
            raise VerificationFailed(f"entry {entry.sequence} (reviewed): {error}") from None
        count += 1
    return count


def _check_model(
    fact: ReviewedEntry, facts: Facts, store: Store, calls: dict[tuple[str, int], CallEntry]
) -> None:
    place, plan = (fact.asked, fact.index), facts.plans.get(fact.asked)
    need(plan and plan.index == REVIEWING, "its question is of no plan that reviews")
    call, reply = calls.get(place), facts.answers.get(place)
    if fact.failure == "too long":
        need(call is None and fact.said is None, "its question was asked")
        return
    need(call and reply and reply.status not in ENDED, "its question has no answer")
    assert call is not None and reply is not None
    question = write_claim_question(call.call.endpoint, store.get(fact.shown))
    need(call.call.body == digest(question), "its question shows other bytes")
    said, failure = None, reply.status
    if reply.status == "ok":
        text = store.get(reply.text).decode() if reply.text else ""
        said, failure = read_claim_answer(text)  # type: ignore[assignment]
    need((fact.said, fact.failure) == (said, failure), "its answer says something else")


def _rules_at(entries: Sequence[Entry], sequence: int) -> Policy:
    roots = [one for one in entries if one.kind in ("study", "amended")]
    return policy([one for one in roots if one.sequence <= sequence])


def _check_person(fact: ReviewedEntry, rules: Policy) -> None:
    signed = check_review(rules, fact.envelope.encode())
    need(plain(signed) == plain(fact.review), "its signed content is another")
    told = (signed.claim, signed.shown, signed.kind, signed.percent / 100)
    right = (name_claim(fact.plan, fact.number), fact.shown, fact.by, fact.said)
    need(told == right, "it says something else")
