"""Serve jobs: a service in its box, its clients at the door, and the record of both.

What the clients ask follows from the study secret, the plan, the period and the job's purpose. So a
recorded job can be played again (loop/verify/line.py): the same desk must count the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from safetensors.numpy import load

from configs.entries import ServedEntry
from configs.errors import VerificationFailed
from configs.records import SERVE, Input
from configs.settings.config import Config
from configs.settings.factory import What
from evals.factory.desk import Bank, Batch, Count, Desk, Hours, read_batch
from evals.factory.scenarios import Client, read_clients
from evals.factory.traffic import draw_requests
from evals.intervals import share
from loop.campaign import Campaign
from loop.factory.changes import Drawn, list_forms, rng_of
from loop.measure.jobs import Replicate, make_job, run_job
from loop.plan import Planned, count_serving, serve_index
from sandbox.canonical import canonical
from sandbox.door.doors import Doors, Reply
from sandbox.store import Store

PATH = "/v1/visits"
LOG_BYTES = 16_000_000
MARGIN = 0.02
"""Least distance in probability between the first and the second token of an answer: of a nearer
pair another order of the same sums could make the other one.
"""
AT: dict[What, int] = {"tests": 0, "twin": 1, "again": 2, "canary": 0, "beside": 1, "live": 2}
"""What a serve job is for -> its place among the jobs before deployment, or among a period's."""
BEFORE: tuple[What, ...] = ("tests", "twin", "again")
"""Serve jobs before deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What is fixed for the clients of a campaign."""

    config: Config
    "the study's settings"
    secret: bytes
    "secret of the repeat"
    bank: Bank
    "questions, with the answers of the champion's weights"
    tests: tuple[Client, ...]
    "scripted clients that proposers may know"
    scenarios: tuple[Client, ...]
    "people's holdout"
    drawn: tuple[Drawn, ...]
    "the change of each period, from the first on"


def read_bank(store: Store, questions: str, predictions: str) -> Bank:
    """Return the questions whose answers are clear, with these answers."""
    asked = load(store.get(questions))["questions"]
    told = load(store.get(predictions))
    two = np.sort(told["probabilities"], axis=2)[:, :, -2:]
    clear = (two[:, :, 1] - two[:, :, 0] > MARGIN).all(axis=1)
    return Bank(questions=asked[clear].tolist(), answers=told["tokens"][clear].tolist())


@lru_cache(maxsize=8)
def _read(data: bytes) -> tuple[Client, ...]:
    return read_clients(data)


def read_files(config: Config, store: Store) -> tuple[tuple[Client, ...], tuple[Client, ...]]:
    """Return the tests and the scenarios of a study."""
    factory = config.factory
    return _read(store.get(factory.tests_digest)), _read(store.get(factory.scenarios_digest))


def find_index(what: What, period: int) -> int:
    """Return the number of a serve job within its plan."""
    return AT[what] if what in BEFORE else serve_index(period) + AT[what]


def list_hours(
    shop: Shop, layers: Sequence[str], held: Sequence[Drawn], what: What, period: int, first: bool
) -> Hours:
    """Return the clients of a serve job; `first`: its version went live in this period."""
    whole = tuple((one, (*one.halves()[0], *one.halves()[1])) for one in shop.scenarios)
    match what:
        case "tests":
            return Hours(clients=tuple((one, one.steps) for one in shop.tests))
        case "twin":
            return Hours(clients=tuple((one, one.halves()[0]) for one in shop.scenarios))
        case "again":
            later = ((one, one.halves()[1]) for one in shop.scenarios)
            return Hours(clients=tuple(pair for pair in later if pair[1]))
    factory = shop.config.factory
    rng = rng_of(shop.secret, f"requests:{period}")
    requests = draw_requests(rng, shop.bank.questions, factory.requests, factory.drifted)
    half = len(requests) // 2
    meets = [rng.random() < factory.canary for _ in range(half)]
    if what != "live":
        wanted = what == "canary"
        requests = [one for one, new in zip(requests[:half], meets, strict=True) if new == wanted]
    elif first and "canary" in layers:
        requests = requests[half:]
    watched = what == "canary" or (what == "live" and "watch" in layers)
    return Hours(clients=whole if watched else (), requests=tuple(requests), forms=list_forms(held))


def open_desk(shop: Shop, hours: Hours, what: What, period: int) -> Desk:
    """Return the desk of a serve job."""
    return Desk([hours], shop.bank, rng_of(shop.secret, f"{what}:{period}").randbytes(16).hex())


class ServeDoor:
    """The handler of a service's door: it plays a desk, and keeps what the service posted."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.log = desk, list[Any]()

    def answer(self, request: Any) -> Reply:
        """Take the replies of a visit and hand the next requests; raises BadInput."""
        replies = read_batch(request)
        self.log.append(request)
        return Reply(status=200, body=tell_batch(self.desk.visit(replies)))


def tell_batch(batch: Batch | None) -> bytes:
    """Return the answer to a visit: the next requests, or the order to stop."""
    return canonical({"requests": batch or [], "stop": batch is None})


def serve(
    campaign: Campaign, planned: Planned, weights: Input, hours: Hours, shop: Shop, at: ServedEntry
) -> ServedEntry:
    """Run a serve job once and record what its clients got.

    `at` names the job. A job whose record a kill lost is run again, under a spare number.
    """
    running, name = campaign.running, planned.digest
    index = _find_slot(campaign, name, at.index)
    if (recorded := campaign.facts().line.served.get((name, index))) is not None:
        return recorded
    doors = list[ServeDoor]()

    def make() -> Doors:
        doors.append(ServeDoor(open_desk(shop, hours, at.what, at.period)))
        return Doors({SERVE: (PATH, doors[-1].answer)})

    job = make_job(running, Replicate(planned=planned, index=index), SERVE, (weights,))
    ended, _ = run_job(running, job, campaign.cpu, make)
    log = running.store.put(canonical(doors[-1].log))
    failure = "" if ended.status == "ok" else f"{ended.status}: {ended.detail}"
    entry = count_up(replace(at, index=index, log=log, ended=failure), doors[-1].desk.end())
    running.ledger.append(entry)
    return entry


def _find_slot(campaign: Campaign, plan: str, index: int) -> int:
    """Return the number under which a serve job runs, or was recorded.

    Raises VerificationFailed where kills lost the record of both.
    """
    facts = campaign.facts()
    for number in (index, index + count_serving(campaign.running.config) // 2):
        result = facts.results.get((plan, SERVE, number))
        is_open = result is None or result[0].status == "box"
        if is_open or (plan, number) in facts.line.served:
            return number
    raise VerificationFailed(
        f"what the clients of serve job {index} of plan {plan[:12]} got was lost twice"
    )


def count_up(entry: ServedEntry, count: Count) -> ServedEntry:
    """Return the record of a serve job with what its clients got."""
    return replace(
        entry,
        clients=len(count.met),
        unmet=count.unmet,
        requests=count.requests,
        right=count.right,
        harmed=count.harmed,
    )


def name_job(plan: str, what: What, period: int) -> ServedEntry:
    """Return the record of a serve job before it begins."""
    return ServedEntry(
        plan=plan,
        index=find_index(what, period),
        period=period,
        what=what,
        log="",
        clients=0,
        unmet=(),
        requests=0,
        right=0,
        harmed=0,
        ended="",
    )


def is_satisfied(config: Config, *jobs: ServedEntry) -> bool:
    """Tell whether the exact interval of the share of met clients lies above the bound.

    A client of several jobs is met if each of them met it.
    """
    clients, unmet = max(job.clients for job in jobs), {name for job in jobs for name in job.unmet}
    figure = share(clients - len(unmet), clients, "share of scenarios")
    return figure.low is not None and figure.low > config.factory.satisfaction
