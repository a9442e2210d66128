"""Factory lines, played again: every serve job through its clients, every change through its
layers.

What a service posted must be what went through its door. With the study secret the same clients
must ask the same and count the same, the reviewers and changes must be those that it draws. A
service went live, or back, only where the recorded jobs say so.
"""

from collections.abc import Callable, Sequence
from typing import Any

from configs.arms import variant
from configs.build import strict_json
from configs.entries import (
    ChangeEntry,
    DoorEntry,
    Entry,
    QuestionsEntry,
    ReleaseEntry,
    ReviewEntry,
    RollbackEntry,
    ServedEntry,
)
from configs.errors import BadInput, VerificationFailed
from configs.records import SERVE
from configs.settings.factory import Fate
from evals.factory.desk import read_batch
from loop.factory.changes import draw_changes, list_held, read_families, review
from loop.factory.serve import (
    LOG_BYTES,
    Shop,
    count_up,
    find_index,
    is_satisfied,
    list_hours,
    open_desk,
    read_bank,
    read_files,
    tell_batch,
)
from loop.facts.facts import Facts
from loop.facts.places import Campaign
from loop.measure.replicate import PREDICTIONS
from loop.plan import count_serving
from loop.study.items import repeat_secret
from loop.verify.state import need
from sandbox.canonical import canonical, digest
from sandbox.decision import policy
from sandbox.store import Store

REVIEWS = ("review", "weak review")


def check_line(entries: Sequence[Entry], store: Store, secret: bytes | None) -> int:
    """Check every entry of factory lines; return their number.

    Raises VerificationFailed with the entry. Without the study secret clients, draws and reviews
    are not played again.
    """
    walk, checked = _Walk(entries, store, secret), 0
    for entry in entries:
        if check := _CHECKS.get(entry.kind):
            try:
                check(walk, entry.fact)
            except (VerificationFailed, BadInput, KeyError, IndexError) as error:
                name = f"entry {entry.sequence} ({entry.kind})"
                raise VerificationFailed(f"{name}: {error}") from None
            checked += entry.kind != DoorEntry.kind
        walk.facts.fold(entry)
    return checked


class _Walk:
    """A walk through the entries of a study, with the facts before each."""

    def __init__(self, entries: Sequence[Entry], store: Store, secret: bytes | None) -> None:
        self.config, self.facts = policy(list(entries)).config, Facts()
        self._store, self._secret = store, secret
        self._doors = dict[tuple[str, int], DoorEntry]()
        self._questions = dict[int, str]()
        self._shops = dict[Campaign, Shop]()

    def note_door(self, fact: DoorEntry) -> None:
        """Keep the last attempt of a service's door."""
        if fact.door == SERVE:
            self._doors[fact.plan, fact.index] = fact

    def note_questions(self, fact: QuestionsEntry) -> None:
        """Keep the questions that clients draw from."""
        if fact.split == "feedback":
            self._questions[fact.repeat] = fact.digest

    def check_served(self, fact: ServedEntry) -> None:
        """Play a serve job again."""
        plan, spare = self.facts.plans[fact.plan], count_serving(self.config) // 2
        need(bool(variant(plan.arm).line), "its arm has no factory")
        numbers = (find_index(fact.what, fact.period), find_index(fact.what, fact.period) + spare)
        need(fact.index in numbers, f"it is job {fact.index}, and should be one of {numbers}")
        need((fact.plan, fact.index) not in self.facts.line.served, "it was counted before")
        result, _ = self.facts.results[fact.plan, SERVE, fact.index]
        ended = "" if result.status == "ok" else f"{result.status}: {result.detail}"
        need(fact.ended == ended, f"its job ended otherwise: {ended or 'well'}")
        door, log = self._doors.get((fact.plan, fact.index)), self._store.get(fact.log)
        rows = strict_json(self._store.get(door.transcript), LOG_BYTES) if door else []
        answered = [row for row in rows if row["status"] == 200]
        visits = strict_json(log, LOG_BYTES)
        posted = [digest(canonical(visit)) for visit in visits]
        need(posted == [row["request"] for row in answered], "its log is not what passed its door")
        if (shop := self._open_shop((plan.arm, plan.repeat))) is None:
            return
        held = list_held(self.facts.plans, fact.plan, shop.drawn)
        first = fact.what == "live" and self._has_canary((plan.arm, plan.repeat), fact.period)
        layers = variant(plan.arm).line
        hours = list_hours(shop, layers, held, fact.what, fact.period, first)
        desk = open_desk(shop, hours, fact.what, fact.period)
        for visit, row in zip(visits, answered, strict=True):
            told = tell_batch(desk.visit(read_batch(visit)))
            need(told.decode() == row["body"], "its clients asked something else")
        right = count_up(fact, desk.end())
        need(right == fact, f"its clients count otherwise: {right}")

    def _has_canary(self, key: Campaign, period: int) -> bool:
        """Tell whether a period of a campaign began with a canary."""
        line, plans = self.facts.line, self.facts.plans
        return any(
            (job.what, job.period) == ("canary", period)
            and (plans[job.plan].arm, plans[job.plan].repeat) == key
            for job in line.served.values()
        )

    def check_review(self, fact: ReviewEntry) -> None:
        """Draw a review again."""
        plan = self.facts.plans[fact.plan]
        need(any(one in variant(plan.arm).line for one in REVIEWS), "its arm has no reviewer")
        need(fact.plan not in self.facts.line.reviews, "it was reviewed before")
        if shop := self._open_shop((plan.arm, plan.repeat)):
            drawn = shop.drawn[plan.generation - 1]
            right = review(self.config, shop.secret, fact.plan, plan, drawn)
            need(right == fact, f"the secret draws another review: {right}")

    def check_release(self, fact: ReleaseEntry) -> None:
        """Hold a release against the layers of its arm."""
        fate = self._find_fate((fact.arm, fact.repeat), fact.plan, fact.period)
        need(fate == "release", f"it went live though a layer stopped it: {fate}")

    def check_rollback(self, fact: RollbackEntry) -> None:
        """Hold a rollback against the satisfaction of its service."""
        key = fact.arm, fact.repeat
        jobs = [self._find_job(fact.plan, what, fact.period) for what in ("canary", "live")]
        fell = any(job and not is_satisfied(self.config, job) for job in jobs)
        need(fell, "its satisfaction did not fall")
        need(self.facts.line.live(key, {fact.plan}) == fact.to, "another service was live before")

    def check_change(self, fact: ChangeEntry) -> None:
        """Hold what became of a change against the recorded layers, and its draw."""
        key = fact.arm, fact.repeat
        before = self.facts.line.changes.get(key, [])
        need(fact.period == len(before) + 1, f"it is of period {fact.period}, out of order")
        fate = self._find_fate(key, fact.plan, fact.period)
        need(fact.fate == fate, f"it ended otherwise: {fate}")
        self._need_rollback(key, fact.period)
        if shop := self._open_shop(key):
            drawn = shop.drawn[fact.period - 1]
            right = drawn.family.family, drawn.planted
            need((fact.family, fact.planted) == right, f"the secret draws another change: {right}")

    def _need_rollback(self, key: Campaign, period: int) -> None:
        """Raise VerificationFailed where a watched service fell in a period and stayed live.

        It may stay where nothing was live before it, or where people denied the rollback.
        """
        line, plans, layers = self.facts.line, self.facts.plans, variant(key[0]).line
        watched = {"canary": "canary", "live": "watch"}
        for job in line.served.values():
            plan = plans[job.plan]
            if (plan.arm, plan.repeat, job.period) != (*key, period):
                continue
            fell = watched.get(job.what) in layers and not is_satisfied(self.config, job)
            stays = job.plan not in line.list_done("rollback", key)
            able = line.live(key, {job.plan}) and (job.plan, "rollback") not in self.facts.denied
            need(
                not (fell and stays and able), "a service fell in its period and was not taken back"
            )

    def _find_fate(self, key: Campaign, plan: str, period: int) -> Fate:
        """Return where a change ended, by the facts so far."""
        line, layers = self.facts.line, variant(key[0]).line
        if not plan:
            return "edits"
        if plan not in self.facts.granted:
            return "gate"
        tests = self._find_job(plan, "tests", period)
        if tests is None or tests.unmet:
            return "tests"
        reviewed = line.reviews.get(plan)
        if period and set(REVIEWS) & set(layers) and not (reviewed and reviewed.allow):
            return "review"
        if "scenarios" in layers:
            jobs = [self._find_job(plan, what, period) for what in ("twin", "again")]
            known = [job for job in jobs if job]
            if len(known) < len(jobs) or not is_satisfied(self.config, *known):
                return "scenarios"
        if plan not in line.list_done("release", key):
            return "release"
        if not any((one.plan, one.period) == (plan, period) for one in line.rollbacks.get(key, ())):
            return "live"
        canary = self._find_job(plan, "canary", period)
        return "canary" if canary and not is_satisfied(self.config, canary) else "watch"

    def _find_job(self, plan: str, what: Any, period: int) -> ServedEntry | None:
        index, served = find_index(what, period), self.facts.line.served
        return served.get((plan, index)) or served.get(
            (plan, index + count_serving(self.config) // 2)
        )

    def _open_shop(self, key: Campaign) -> Shop | None:
        """Return what is fixed for the clients of a campaign; None without the secret."""
        if self._secret is None:
            return None
        if key not in self._shops:
            base, store = self.facts.champions[key][0], self._store
            predicted, _ = self.facts.results[base, "predict", 0]
            tests, scenarios = read_files(self.config, store)
            secret = repeat_secret(self._secret, key[1])
            drawn = draw_changes(self.config, read_families(self.config, store), secret)
            questions = self._questions[key[1]]
            self._shops[key] = Shop(
                config=self.config,
                secret=secret,
                bank=read_bank(store, questions, predicted.outputs[PREDICTIONS]),
                tests=tests,
                scenarios=scenarios,
                drawn=tuple(drawn),
            )
        return self._shops[key]


_CHECKS: dict[str, Callable[[_Walk, Any], None]] = {
    DoorEntry.kind: _Walk.note_door,
    QuestionsEntry.kind: _Walk.note_questions,
    ServedEntry.kind: _Walk.check_served,
    ReviewEntry.kind: _Walk.check_review,
    ReleaseEntry.kind: _Walk.check_release,
    RollbackEntry.kind: _Walk.check_rollback,
    ChangeEntry.kind: _Walk.check_change,
}
"""Check of each kind of entry that has to do with factory lines."""
