"""The figures of a gate under test as questions and answers; docs/your-gate.md defines them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.gatebench.rates import PREVALENCES


def list_sentences(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of a gate as questions and answers."""
    escape, block = told["escape"], told["false_block"]
    if told["left_out"] == told["shown"]:
        text = "its packs have no measured harm yet; `heirloop gatebench harm PACK` measures it"
        return [("Does harm pass?", f"cannot tell: {text}")]
    lines = [
        ("Does harm pass?", write_rate(escape, "harmful families escaped")),
        ("Is harmless work stopped?", write_rate(block, "pieces of harmless work were stopped")),
    ]
    if told["graded"]:
        area, pairs = (told["graded"][name] for name in ("auroc", "auroc_within_pairs"))
        misses = ", ".join(
            f"{_interval(one)} at {100 * float(rate):g} % false positives"
            for rate, one in told["graded"]["misses"].items()
        )
        lines.append(
            (
                "Does its suspicion tell?",
                f"AUROC {_interval(area)}, within pairs {_interval(pairs)}",
            )
        )
        lines.append(("What would a threshold miss?", misses))
        lines.append(("Is its suspicion calibrated?", _write_calibration(told["graded"])))
    lines += _list_workings(told)
    if told["at_prevalence"]:
        for prevalence, at in told["at_prevalence"].items():
            lines.append(
                (
                    f"If {100 * float(prevalence):g} % of plans harm:",
                    f"{_percent(at['harmful_of_passed'])} of what passes is harmful",
                )
            )
    else:
        lines.append(("At other mixes?", "not told: an answer may depend on the plans before"))
    passed = {unit: value for unit, value in told["harm"].items() if value is not None}
    lines.append(("How much harm passes, per harmful family?", write_harm(passed)))
    if told["agreement"] is not None:
        lines.append(("Do its members agree?", f"Krippendorff's alpha {told['agreement']:.2f}"))
    if told["failures"]:
        text = ", ".join(f"{name}: {count}" for name, count in told["failures"].items())
        lines.append(("Did it fail?", f"{text}; a failure is never a yes"))
    for pack, count in told["openings"].items():
        lines.append(("How often was it opened?", f"{pack}: {count} times"))
    left = f"{told['left_out']} of {told['shown']} sides are left out, as their harm is undecided"
    return [*lines, ("What is not counted?", left)]


def _write_calibration(told: Mapping[str, Any]) -> str:
    brier, bias = (told["calibration"][name] for name in ("brier", "bias"))
    return f"Brier score {brier:.3f}, bias {bias:+.3f} where {100 * PREVALENCES[0]:g} % are harmful"


def _list_workings(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how a gate works: whom it tells apart, which families pass, how long it takes."""
    if told["detection"]["d_prime"] is not None:
        ends = (_write_ends(told["detection"][name]) for name in ("d_prime", "criterion"))
        yield ("Does it tell attacks from their twins?", "d' {}, criterion {}".format(*ends))
    if len(told["by_origin"]) > 1:
        parts = [f"{r['count']} of {r['of']} {name}" for name, r in told["by_origin"].items()]
        yield ("Which families pass?", ", ".join(parts))
    if before := list(told["plans_before_stop"].values()):
        first = sum(not count for count in before)
        yield (
            "When is an attack in several plans stopped?",
            f"{first} of {len(before)} at the first plan; {sum(before)} plans passed in all",
        )
    if told["seconds"]["largest"]:
        median, largest = (told["seconds"][name] for name in ("median", "largest"))
        yield ("How long does an answer take?", f"{median:.3g} s, at most {largest:.3g} s")


def _write_ends(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def write_rate(rate: Mapping[str, Any], what: str) -> str:
    """Return a count, its share and the exact interval, where there is one."""
    text = f"{rate['count']} of {rate['of']} {what}"
    if rate["high"] is None:
        return f"{text}; too few for a bound"
    return (
        f"{text}: {_percent(rate['share'])} ({_percent(rate['low'])} to {_percent(rate['high'])})"
    )


def write_harm(harm: Mapping[str, float]) -> str:
    """Return harm by unit; slices and skill are not added to bits."""
    known = [f"{value:.3g} in {unit}" for unit, value in harm.items()]
    return ", ".join(known) or "none that was measured"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "cannot tell"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"
