"""What people do to a run from outside its loop: look, decide, resume, deploy, roll back, recall,
amend, acknowledge, export.
"""

from pathlib import Path

from configs.build import need, parse, strict_json
from configs.records import Proposal
from loop.facts.facts import FactsReader
from loop.people.requests import open_gate
from loop.plan import change, source
from loop.propose.table import proposer
from sandbox.ledger import Ledger


def propose(folder: Path, text: str, arm: str, repeat: int, who: str, by: str) -> str:
    """Hand in a proposal of an arm in which people propose; return its digest. `by` is the name
    that does not count towards its quorum.

    Raises BadInput for another arm, for one that the campaign's champion could not take, and for
    more than the study can use.
    """
    gate, facts = open_gate(folder), FactsReader(Ledger.file(folder / "ledger.sqlite")).facts()
    config = gate.rules.config
    arms = [name for name in config.arms() if proposer(name).where == "people"]
    need(
        arm in arms,
        "--arm",
        arm,
        f"an arm in which people propose ({', '.join(arms) or 'this study has none'})",
    )
    need(
        0 <= repeat < config.study.repeats,
        "--repeat",
        repeat,
        f"below study.repeats, {config.study.repeats}",
    )
    most, known = config.study.generations * config.study.proposals, facts.handed[arm, repeat]
    need(
        len(known) - len(facts.taken[arm, repeat]) < most,
        "FILE",
        f"number {len(known) + 1}",
        f"one of the {most} that the campaign can use",
    )
    text = text.strip()
    given = parse(Proposal, strict_json(text))
    champions = facts.champions.get((arm, repeat), [])
    best = facts.plans[champions[-1]] if champions else None
    files = gate.store.get_bundle(best.bundle) if best else source()
    change(best.recipe if best else config.task.baseline, files, given)
    name = gate.store.put(text.encode())
    gate.ledger.append(
        "handed", {"arm": arm, "repeat": repeat, "digest": name, "who": who, "by": by}
    )
    return name
