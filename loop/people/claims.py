"""Reviews of claims by people: signed words on write-ups, recorded before any check is told.

A review decides nothing. It is taken only of a claim that people were asked about, in the bytes
that they were shown, and only until they end their review.
"""

from collections.abc import Collection
from pathlib import Path

from configs.build import need, parse
from configs.entries import ReviewedEntry, ReviewsEndEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from configs.records import ClaimReview
from loop.people.requests import open_gate
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import Policy
from sandbox.gate import Gate

Shown = tuple[str, int, bytes]
"""Plan of a write-up, number of its claim, and the bytes that are shown of it."""


def name_claim(plan: str, number: int) -> str:
    """Return the digest by which people name a claim: it tells them nothing of plan or arm."""
    return digest({"plan": plan, "number": number})


def check_review(rules: Policy, envelope: bytes) -> ClaimReview:
    """Return the signed content; raise VerificationFailed unless a key that the study pins signed
    it, for this study.
    """
    try:
        claimed = parse(ClaimReview, keys.payload_unchecked(envelope))
        signed = parse(ClaimReview, keys.verify(envelope, claimed.public, "claim-review"))
    except BadInput as error:
        raise VerificationFailed(f"the review is malformed: {error}") from None
    pinned = [(half.name, half.kind, half.public) for half in rules.reviewers]
    if (signed.reviewer, signed.kind, signed.public) not in pinned:
        raise VerificationFailed(
            f"the review is signed by {signed.reviewer!r}, whose key the study root does not pin"
        )
    if signed.study != rules.root:
        raise VerificationFailed("the review is of another study")
    return signed


def take_review(gate: Gate, envelope: bytes, asked: Collection[Shown]) -> ReviewedEntry:
    """Record a review of one of the claims that people were asked about; return its entry.

    Raises VerificationFailed for any other bytes, a revoked key, a second review by the same
    person, and after the review ended.
    """
    signed = check_review(gate.refresh().memory.rules, envelope)
    if signed.public in keys.revoked():
        raise VerificationFailed(f"the key of {signed.reviewer!r} was revoked")
    known = {name_claim(plan, number): (plan, number, data) for plan, number, data in asked}
    plan, number, data = known.get(signed.claim, ("", 0, b""))
    if signed.claim not in known or digest(data) != signed.shown:
        raise VerificationFailed("the review is of no claim that people are asked about here")
    persons = {half.public: half.person for half in gate.memory.rules.reviewers}
    with gate.ledger.transaction() as txn:
        entries = txn.entries()
        if any(facts_of(entries, ReviewsEndEntry)):
            raise VerificationFailed("the review has ended, and checks are told")
        for earlier in facts_of(entries, ReviewedEntry):
            same = earlier.review and persons.get(earlier.review.public) == persons[signed.public]
            if same and (earlier.plan, earlier.number) == (plan, number):
                raise VerificationFailed("this person has reviewed this claim before")
        fact = ReviewedEntry(
            plan=plan,
            number=number,
            shown=gate.store.put(data),
            by=signed.kind,  # type: ignore[arg-type]
            said=signed.percent / 100,
            failure="",
            asked="",
            index=0,
            envelope=envelope.decode(),
            review=signed,
        )
        txn.append(fact)
    return fact


def end_reviews(folder: Path, who: str, asked: Collection[Shown]) -> ReviewsEndEntry:
    """End the review of people: checks are told, and no review is taken any more.

    Raises BadInput where nobody is asked, and where it has ended.
    """
    gate = open_gate(folder)
    need(bool(asked), "the review", "of nothing", "of a study that asks people about its claims")
    with gate.ledger.transaction() as txn:
        entries = txn.entries()
        ended = any(facts_of(entries, ReviewsEndEntry))
        need(not ended, "the review", "ended", "under way")
        places = {(plan, number) for plan, number, _ in asked}
        reviewed = {
            (fact.plan, fact.number) for fact in facts_of(entries, ReviewedEntry) if fact.review
        }
        fact = ReviewsEndEntry(who=who, reviewed=len(places & reviewed), of=len(places))
        txn.append(fact)
    return fact
