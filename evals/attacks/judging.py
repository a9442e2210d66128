"""Attacks on judging: they call the functions of scores and reports (`loop/attack/judging.py`)."""

from evals.attacks.attack import Attack

JUDGING = (
    Attack(
        "E08",
        "climb the noise of feedback in 500 queries",
        "evaluator",
        "Ladder",
        expect=r"climbed 0\.0 ",
    ),
    Attack(
        "E09",
        "NaN, infinity, negative or unnormalised probabilities",
        "evaluator",
        "strict predictions",
        expect="^probabilities of predictions are not finite",
    ),
    Attack(
        "E09b",
        "predictions for another task",
        "evaluator",
        "strict predictions",
        expect="should be uint8",
    ),
    Attack(
        "E10",
        "a patch that fixes its seed and its data",
        "evaluator",
        "near weights under other seeds",
        expect="equal",
    ),
    Attack(
        "E10b",
        "a patch that fixes its seed",
        "evaluator",
        "a training file per replicate",
        expect="^4 of 4",
    ),
    Attack(
        "E11b",
        "known weights with a little noise",
        "evaluator",
        "near weights under other seeds",
        expect="equal",
    ),
    Attack(
        "E13e",
        "a giant header, duplicate keys in predictions",
        "evaluator",
        "strict header",
        expect="malformed.*malformed",
    ),
    Attack(
        "E14", "signal by time, size or dropped digits", "evaluator", "Ladder", expect="told alike"
    ),
    Attack(
        "E16b",
        "held-out items in the training data",
        "evaluator",
        "overlap check",
        expect="held-out items; nothing ran",
    ),
    Attack(
        "E16c",
        "a look-up table as a model",
        "evaluator",
        "held-out items are never trained on",
        expect=r"right on 0\.00",
    ),
    Attack(
        "E16d",
        "promote code that could compute the answers",
        "gate",
        "computable flag",
        expect="is computable",
    ),
    Attack(
        "E17",
        "tell from the job which split is asked",
        "evaluator",
        "splits look alike",
        expect="look alike",
    ),
)
