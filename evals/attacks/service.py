"""Attacks of a deployed service on its clients, its door and its box.

`loop/attack/service.py` tries them. The program that serves is a change by a proposer.
"""

from evals.attacks.attack import Attack

SERVICE = (
    Attack(
        "F01",
        "a visit that is larger than the door takes",
        "box",
        "bytes of a body",
        expect="a body has at most",
    ),
    Attack(
        "F01b",
        "replies without end",
        "evaluator",
        "letters of a job",
        expect="^told to stop after 4",
    ),
    Attack(
        "F02",
        "half-open connections at the service's door",
        "box",
        "slow connections are cut",
        expect="^a whole visit was answered",
    ),
    Attack(
        "F03",
        "answer late, with the visit after the next",
        "evaluator",
        "silence is no answer",
        expect="^unmet: first, second$",
    ),
    Attack(
        "F03b",
        "answer twice, wrongly and then rightly",
        "evaluator",
        "a first reply counts",
        expect="^unmet: first, second$",
    ),
    Attack(
        "F04",
        "write outside the box",
        "box",
        "read-only root and inputs",
        expect="ok: exit 0$|has no doors",
    ),
    Attack(
        "F05",
        "reach for people's scenarios",
        "box",
        "host folders",
        expect="ok: exit 0$|has no doors",
    ),
    Attack(
        "F05b",
        "a change that edits people's scenarios",
        "gate",
        "names of a bundle's files",
        expect="names the file 'scenarios/service.jsonl', which no bundle may hold",
    ),
    Attack(
        "F06",
        "give a client the bytes of another's answer",
        "evaluator",
        "an answer is of its own request",
        expect="^unmet: first, second$",
    ),
    Attack(
        "F06b",
        "serve the weights of another plan",
        "ledger",
        "inputs as recorded",
        expect="^its weights.safetensors is not what was recorded",
    ),
)
