"""Let the study's outside model review claims of write-ups, before any check of them is told.

It happens once, when every campaign has ended. Each question is a call under a grant of a propose
plan of its campaign, so the arm pays for it; each outcome is recorded by its name. Nothing of it
decides, and a model that fails does not stop the study.
"""

from configs.entries import ReviewedEntry, facts_of
from configs.errors import BadInput, BudgetExhausted, Paused
from configs.records import JobCount, Proposal, ReviewFailure
from loop.campaign import Campaign, Say, passes_gate
from loop.facts.places import REVIEWING
from loop.instruments.run import Run
from loop.instruments.writeups import Place, draw_claims
from loop.plan import Draft, Planned
from loop.propose.outside.ask import answered
from loop.propose.outside.claim import read_claim_answer, show_claim, write_claim_question
from loop.propose.outside.read import Unusable
from loop.study.running import Running

IN_VAIN = 2
"""Questions in a row that got no answer, after which nobody is asked any more."""


def review_by_model(running: Running, say: Say) -> None:
    """Ask the model about the drawn claims of every campaign that it has not reviewed yet.

    Raises NeedsHuman where people must let a question pass, and Halted or Interrupted where they
    hold the study; the same command goes on.
    """
    writeups = running.config.study.writeups
    if writeups is None or not writeups.model or running.facts().closed:
        return
    known = {
        (fact.plan, fact.number): fact
        for fact in facts_of(running.ledger.entries(), ReviewedEntry)
        if fact.by == "model"
    }
    vain = failed = asked = 0
    for (arm, repeat), claims in draw_claims(Run(0, running.ledger), writeups.model).items():
        campaign = Campaign(running, arm, repeat, None, say)
        try:
            planned = _pass_plan(campaign, len(claims))
            for index, (place, stated) in enumerate(claims.items()):
                entry = known.get(place)
                if entry is None:
                    entry = _ask(campaign, planned, index, place, show_claim(stated))
                asked, failed = asked + 1, failed + bool(entry.failure)
                vain = vain + 1 if _is_silent(campaign, entry) else 0
                if vain == IN_VAIN:
                    say(f"the model gave no answer {IN_VAIN} times in a row; it is asked no more")
                    return
        except (BadInput, BudgetExhausted) as error:
            say(f"the claims of {arm}, repeat {repeat}, are not all reviewed: {error}")
    say(f"the model reviewed {asked} claims of write-ups; {failed} answers do not count")


def _pass_plan(campaign: Campaign, count: int) -> Planned:
    """Return the plan of a campaign's questions, recorded once a version of the study, after its
    gate; raise BadInput where it is denied.
    """
    running = campaign.running
    after, version = running.config.study.generations + 1, running.gate.memory.rules.version
    name = campaign.facts().selecting.asks.get((*campaign.key, after, REVIEWING))
    planned = campaign.planned(name) if name else None
    if planned is None or planned.plan.version != version:
        planned = _record_plan(campaign, after, count)
    if not passes_gate(campaign, planned):
        raise BadInput("asking the model was refused")
    return planned


def _record_plan(campaign: Campaign, generation: int, count: int) -> Planned:
    champion, model = campaign.champions()[-1], campaign.running.config.proposer.llm
    assert model is not None
    text = f"asks the outside model {model.model} at {model.url} to review {count} claims"
    draft = Draft(
        generation=generation,
        index=REVIEWING,
        purpose="propose",
        parent=champion.digest,
        change_class="propose",
        recipe=champion.plan.recipe,
        bundle=champion.plan.bundle,
        proposal=Proposal(hypothesis=text, knobs={}),
        jobs=(JobCount(role="ask", count=count),),
    )
    return campaign.record(draft)


def _ask(
    campaign: Campaign, planned: Planned, index: int, place: Place, shown: bytes
) -> ReviewedEntry:
    """Ask about a claim, and record what came of it."""
    running, (plan, number) = campaign.running, place
    said, failure = _hear(running, planned, index, shown)
    entry = ReviewedEntry(
        plan=plan,
        number=number,
        shown=running.store.put(shown),
        by="model",
        said=said,
        failure=failure,
        asked=planned.digest,
        index=index,
        envelope="",
        review=None,
    )
    running.ledger.append(entry)
    return entry


def _hear(
    running: Running, planned: Planned, index: int, shown: bytes
) -> tuple[float | None, ReviewFailure]:
    """Return the model's answer, or the name of its failure."""
    endpoint = running.config.proposer.llm
    assert endpoint is not None
    question = write_claim_question(endpoint, shown)
    if len(question) > endpoint.prompt_bytes:
        return None, "too long"
    try:
        return read_claim_answer(answered(running, planned.digest, index, question))
    except (Unusable, Paused):
        status = running.facts().answers[planned.digest, index].status
        return None, status  # type: ignore[return-value]


def _is_silent(campaign: Campaign, entry: ReviewedEntry) -> bool:
    """Tell whether the endpoint failed, so that the next question would fare no better."""
    reply = campaign.facts().answers.get((entry.asked, entry.index))
    return reply is not None and reply.status not in ("ok", "malformed", "huge")
