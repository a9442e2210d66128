"""What a running loop forgets: the jobs of finished generations, for which nothing asks again.

`facts` are those of facts.py, which imports this file.
"""

from dataclasses import replace
from typing import Any

from configs.records import NOTES, Plan
from loop.facts.places import Slot


def forget_before(facts: Any, plan: Plan) -> None:
    """Forget the jobs of the generations before a plan's; nothing asks for them again.

    Screening scores, failures, and the weights and criteria of champions stay.
    """
    whole = facts.whole[plan.arm, plan.repeat]
    for digest in [d for d in whole if facts.plans[d].generation < plan.generation]:
        whole.remove(digest)
        if digest in facts.verdicts and digest not in facts.crowned:
            facts.verdicts[digest] = replace(facts.verdicts[digest], criteria=())
        for job in facts.plans[digest].jobs:
            for index in range(job.count):
                _forget_job(facts, (digest, job.role, index))


def _forget_job(facts: Any, slot: Slot) -> None:
    (digest, role, index), result = slot, facts.results.get(slot)
    failed = result is not None and result[0].status != "ok"
    if result and NOTES in result[0].outputs:
        return  # an agent's next generation reads them
    if (role, index) != ("train", 0) or not (digest in facts.crowned or failed):
        facts.results.pop(slot, None)
    if (role, index) != ("predict", 0):
        facts.scores.pop(slot, None)
    facts.data.pop((digest, index), None)
