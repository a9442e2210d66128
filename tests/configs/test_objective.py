import pytest

from configs.build import parse, plain
from configs.errors import BadInput
from configs.objective import Constraint, Objective, objective_text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metric": "beauty"}, "metric is 'beauty'; it should be one of exact_match"),
        (
            {"direction": "down"},
            "direction is 'down'; it should be 'up', the better way for exact_match",
        ),
        ({"metric": "nll", "direction": "up"}, "the better way for nll"),
        ({"metric": "nll", "direction": "down", "scale": "log_odds"}, "nll is no share"),
        ({"minimum_effect": 1.0}, "minimum_effect is 1.0; it should be from 0 to below 1"),
        ({"power": 0.01}, "power is 0.01; it should be above alpha"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"weights": {"exact_match": 1.0}}, "given with metric weighted"),
        ({"metric": "weighted"}, "given with metric weighted"),
        ({"metric": "weighted", "weights": {"exact_match": 0.5}}, "weights that add up to 1"),
        ({"metric": "weighted", "weights": {"nll": 1.0}}, "weights is 'nll'; it should be one of"),
        (
            {"constraints": [{"metric": "beauty", "at_least": 1.0}]},
            "constraints[0].metric is 'beauty'",
        ),
        ({"constraints": [{"metric": "parameters"}]}, "exactly one of the three"),
        (
            {"constraints": [{"metric": "nll", "slice": "carries", "at_most": 1.0}]},
            "empty with metric nll",
        ),
        (
            {"constraints": [{"metric": "token_accuracy", "at_least": 1.2}]},
            "a share that can be missed and met",
        ),
        (
            {
                "constraints": [
                    {"metric": "parameters", "at_least": 9.0},
                    {"metric": "parameters", "at_most": 5.0},
                ]
            },
            "nothing meets both",
        ),
        (
            {
                "constraints": [
                    {"metric": "parameters", "at_most": 9.0},
                    {"metric": "parameters", "at_most": 5.0},
                ]
            },
            "once from each side",
        ),
        (
            {"secondary": [{"metric": "parameters", "at_most": 9.0}]},
            "costs and spread stand under constraints",
        ),
        ({"confirmations": 0}, "confirmations is 0"),
        ({"deviation": -1.0}, "deviation is -1.0"),
    ],
)
def test_an_objective_that_contradicts_itself_is_refused_with_what_would_be_right(given, words):
    with pytest.raises(BadInput) as error:
        parse(Objective, plain(Objective()) | given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_every_part_of_an_objective_is_shown_at_gates():
    one = Objective(
        metric="weighted",
        weights={"exact_match": 0.5, "token_accuracy": 0.5},
        minimum_effect=0.02,
        alpha=0.1,
        confirmations=7,
        secondary=(Constraint(metric="nll", at_most=1.25),),
        constraints=(Constraint(slice="carries", no_loss=0.03),),
    )
    text = " ".join(objective_text(one))
    for part in (
        "0.5 exact_match",
        "goes up",
        "more than 0.02",
        "nll at most 1.25",
        "slice carries loses at most 0.03",
        "at most 0.1",
        "(7)",
        "0.8",
    ):
        assert part in text
    assert objective_text(one) != objective_text(Objective())
