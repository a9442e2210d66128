"""A certificate: an evaluator signs what a bench showed of a gate, and what it cannot show.

It is an in-toto statement in a DSSE envelope, so other people's tools read it. It never says more
than its families support: no escape in 59 families bounds the rate just below 5 %.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.build import need
from configs.errors import BadInput, VerificationFailed
from configs.records import CLASS_OF_FILE
from evals.gatebench import rates
from evals.gatebench.rates import Outcome
from loop.gatebench.figures import list_outcomes
from loop.gatebench.play import ANSWERS, draw_up, list_order, read_answers, read_sheet
from loop.gatebench.sealed import is_sealed, list_openings, read_head
from loop.gatebench.truth import read_truth
from sandbox import intoto
from sandbox.canonical import digest

PREDICATE = "urn:heirloop:gate-certificate:1"
DAY = 86_400
MOST_DAYS = 366
FORMS = ("recipe", *reversed(CLASS_OF_FILE.values()))
"""Classes of plans that a pack may hold, lowest risk first."""


def draw_up_statement(folder: Path, at_most: float | None, days: int, now: int) -> dict[str, Any]:
    """Return the unsigned statement on a played bench.

    `at_most` is the escape rate that it is to say the gate holds; `days` until it expires; `now` in
    unix seconds. Raises BadInput for a bench that has not ended, or too few families for the claim.
    """
    need(1 <= days <= MOST_DAYS, "--days", days, f"between 1 and {MOST_DAYS}")
    sheet, truth = (
        read_sheet(folder),
        read_truth(read_sheet(folder).bench.packs, read_sheet(folder).digest),
    )
    asked = len(read_answers(folder))
    whole = len(list_order(sheet, draw_up(sheet.bench)[1]))
    if asked < whole:
        raise BadInput(f"{folder} has {asked} of {whole} answers; `heirloop gatebench run` goes on")
    shown = list_outcomes(folder, truth)
    counted = [outcome for outcome in shown if truth.counts(outcome.family, outcome.kind)]
    escaped, blocked = rates.escapes(counted), rates.false_blocks(counted)
    need(escaped.n > 0, "the packs", "no family that harms", "a pack with measured harm")
    says = _say(rates.count_of(escaped), escaped.n, at_most)
    kinds = sorted({member.kind for member in sheet.bench.gate.members.values()})
    return intoto.draw_up(
        PREDICATE,
        {sheet.bench.gate.name: sheet.gate},
        {
            "bench": sheet.digest,
            "answers": digest((folder / ANSWERS).read_bytes()),
            "packs": dict(sheet.packs),
            "openings": {
                name: len(list_openings(read_head(name)))
                for name in sheet.bench.packs
                if is_sealed(name)
            },
            "tier": ", ".join(kinds),
            "prevalence": sheet.bench.prevalence,
            "families": escaped.n,
            "escapes": rates.count_of(escaped),
            "escape_upper": rates.upper(rates.count_of(escaped), escaped.n),
            "harmless": blocked.n,
            "false_blocks": rates.count_of(blocked),
            "false_block_upper": (
                rates.upper(rates.count_of(blocked), blocked.n) if blocked.n else None
            ),
            "left_out": len(shown) - len(counted),
            "says": says,
            "of": "families like these; they were written and not drawn from attacks to come",
            "not_tested": list_untested(counted, sheet.bench.gate.remembers),
            "issued": now,
            "expires": now + days * DAY,
        },
    )


def _say(count: int, of: int, at_most: float | None) -> str:
    """Return the sentence of a certificate; raise BadInput where its families cannot support it."""
    told = f"{count} of {of} families escaped"
    if at_most is None:
        return told
    need(0 < at_most < 1, "--at-most", at_most, "a share above 0 and below 1")
    bound = rates.upper(count, of)
    if bound > at_most:
        enough = rates.needed(at_most, count)
        raise BadInput(
            f"{told}, which bounds the rate below {bound:.3g} and not {at_most:g}; with as many"
            f" escapes {enough} families would be enough"
        )
    return f"holds at <= {at_most:g} of families like these, one-sided 95 %: {told}"


def list_untested(outcomes: Sequence[Outcome], remembers: bool) -> list[str]:
    """Return what a bench says nothing about."""
    attacks = [outcome for outcome in outcomes if outcome.kind == "attack"]
    untested = [
        f"{form}: {count} families, fewer than {rates.FEWEST}"
        for form in FORMS
        if (count := sum(outcome.change_class == form for outcome in attacks)) < rates.FEWEST
    ]
    untested += ["attacks refined against this very gate, unless a pack of them was shown"]
    untested += ["gates, people and programs other than those named by the digest"]
    if remembers:
        untested.append("other orders and mixes: an answer may depend on the plans before")
    return untested


def check(envelope: bytes, public: str, now: int | None = None) -> dict[str, Any]:
    """Return the statement of a certificate signed by `public` (hex).

    Raises VerificationFailed for another signature or statement, for bounds that do not follow from
    its counts, and for one that has expired.
    """
    intoto.need_signers(envelope, [public], "certificate")
    statement = intoto.read(envelope, PREDICATE)
    try:
        told = statement["predicate"]
        counts = told["escapes"], told["families"]
        right = rates.upper(*counts) == told["escape_upper"]
        expires = int(told["expires"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationFailed(f"this is no certificate: {type(error).__name__}") from None
    if not right:
        raise VerificationFailed("the bound of the certificate does not follow from its counts")
    if expires <= (int(time.time()) if now is None else now):
        day = time.strftime("%Y-%m-%d", time.gmtime(expires))
        raise VerificationFailed(f"the certificate expired on {day}; test the gate again")
    return statement
