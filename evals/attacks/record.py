"""Attacks on the record: entries, signed heads, clocks, orders and recalls.

Each row runs in a study of its own (`loop/attack/ledger.py` and `gate.py`).
"""

from evals.attacks.attack import Attack

RECORD = (
    Attack(
        "U01",
        "edit, delete, reorder, cut, repeat entries",
        "ledger",
        "chain and signed heads",
        expect="^entr",
    ),
    Attack(
        "U01b",
        "delete the whole ledger",
        "ledger",
        "missing is no ledger",
        expect="no ledger|does not begin|has no entry",
    ),
    Attack(
        "U01c",
        "cut the end of a finished study and its heads",
        "ledger",
        "an end is demanded",
        expect="are missing",
    ),
    Attack(
        "U02",
        "change any field and mend its hash",
        "ledger",
        "chain and signed heads",
        expect=r"entry \d",
    ),
    Attack(
        "U03",
        "entries inside a reason, lone surrogates",
        "ledger",
        "canonical JSON",
        expect="is one entry; .*not strict JSON",
    ),
    Attack(
        "U04",
        "a signature that was given for something else",
        "gate",
        "domain separation",
        expect="should be a approval.*not signed.*0 of 1",
        incident=True,
    ),
    Attack(
        "U04b",
        "a compute statement as a signed head",
        "ledger",
        "domain separation",
        expect="not signed by this study",
    ),
    Attack(
        "U05",
        "another history with the right keys",
        "ledger",
        "signed heads outside",
        expect="is not the one that checkpoint",
    ),
    Attack(
        "U05b",
        "take heads of one place away",
        "ledger",
        "two places agree",
        expect="lacks checkpoints",
    ),
    Attack(
        "U06",
        "turn the clock back",
        "ledger",
        "time never goes back",
        expect="time stands: .*expired",
        incident=True,
    ),
    Attack(
        "U07",
        "write scores into mirrors",
        "ledger",
        "the ledger alone is read",
        expect="the ledger has no end",
    ),
    Attack(
        "U08",
        "soften a stop by other orders",
        "gate",
        "orders checked at launch",
        expect=r"halted \(stop\)",
    ),
    Attack(
        "U08b", "resume oneself", "gate", "resuming needs a decision", expect=r"halted \(stop\)"
    ),
    Attack(
        "U09",
        "leave orphans behind a dead supervisor",
        "budget",
        "the reservation stands",
        expect="charged in full: 1; .*was used",
    ),
    Attack("U10", "start from a recalled successor", "gate", "quarantine", expect="is quarantined"),
    Attack(
        "U10b",
        "start from a plan that was never accepted",
        "gate",
        "parents are champions",
        expect="which is no champion",
    ),
)
