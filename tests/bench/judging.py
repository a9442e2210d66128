"""Draw docs/figures/judging.svg and print the tables of docs/judging.md, from the measured scores
and the kept rows of `heirloop calibrate`.

.venv/bin/python tests/bench/judging.py [TASK] [PNG]
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from evals.accepted_gain import estimate_gain  # noqa: E402
from evals.calibrate import Campaigns  # noqa: E402
from evals.rules import RULES  # noqa: E402
from loop.calibrate.noise import FIGURES, read_noise  # noqa: E402
from loop.calibrate.rules import calibrate  # noqa: E402

COLOURS = {"a": "#0072b2", "b": "#d55e00", "c": "#009e73"}
NAMES = {"a": "(a) same recipe", "b": "(b) hidden failures", "c": "(c) gain = effect"}


def rates(axis, rules) -> None:
    for i, (null, colour) in enumerate(COLOURS.items()):
        rows = [rule if null == "a" else rule["others"][null] for rule in rules.values()]
        seen, high = (
            np.array([r["false_keep_rate"] for r in rows]),
            np.array([r["upper"] for r in rows]),
        )
        y = np.arange(len(rows)) + (i - 1) * 0.25
        axis.errorbar(
            seen,
            y,
            xerr=[np.zeros(len(rows)), high - seen],
            fmt="o",
            color=colour,
            markersize=5,
            capsize=2,
            label=NAMES[null],
        )
    axis.axvline(0.05, color="#555", linestyle="--", linewidth=1)
    axis.text(0.055, 0.55, "alpha", fontsize=8, color="#555")
    axis.set(
        xscale="symlog",
        xlim=(-0.002, 1.5),
        xlabel="campaigns with a false keep (share, upper 95 % bound)",
    )
    axis.set_xscale("symlog", linthresh=0.01)
    axis.set_xticks([0, 0.01, 0.05, 0.2, 1], ["0", "0.01", "0.05", "0.2", "1"])
    axis.set_yticks(range(len(rules)), list(rules))
    axis.invert_yaxis()
    axis.legend(fontsize=8, loc="lower right")


def powers(axis) -> None:
    rng, plan, size = np.random.default_rng(2), Campaigns(), 3000
    unit = plan.deviation
    base = rng.normal(0, unit * 2**0.5, (size, plan.pairs))
    effects = np.arange(0.5, 5.01, 0.5)
    for number, (name, rule) in enumerate(RULES.items()):
        if name == "greedy":
            continue
        seen = [
            rule.play(base + e * unit, level=plan.level, effect=0.0, deviation=unit, first_look=4)[
                0
            ].mean()
            for e in effects
        ]
        axis.plot(
            effects,
            seen,
            marker=".",
            label=name,
            color=("#000", "#e69f00", "#0072b2", "#009e73", "#d55e00", "#cc79a7")[number],
        )
    axis.plot([3], [0.8], "x", color="#555")
    axis.set(
        xlabel="true gain (seed deviations of one run)",
        ylabel="accepted within 12 pairs (share)",
        ylim=(-0.02, 1.02),
    )
    axis.legend(fontsize=8)


def scores(axis, measured) -> None:
    for i, values in enumerate(measured.values()):
        y = i + np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
        axis.plot(values, y, ".", markersize=4, color="#0072b2", alpha=0.6)
    axis.set_yticks(range(len(measured)), [f"{k} (n {len(v)})" for k, v in measured.items()])
    axis.set(xlabel="exact match of one training (share)", xlim=(-0.03, 1.03))


def tables(found, real) -> None:
    for name, rule in found["rules"].items():
        rows = [rule if null == "a" else rule["others"][null] for null in COLOURS]
        cells = [f"{r['false_keep_rate']:.4f} ({r['upper']:.4f})" for r in rows]
        told = [
            f"{rule['fake_gain']:.4f}",
            f"{rule['by_noise']['normal']['power']:.3f}",
            f"{rule['power']:.3f}",
            f"{rule['replicates']:.1f}",
        ]
        print("| " + " | ".join([f"`{name}`", *cells, *told]) + " |")
    for name, rule in found["rules"].items():
        for null in COLOURS:
            row = rule if null == "a" else rule["others"][null]
            print(
                name,
                null,
                "; ".join(
                    f"{kind} {one['false_keep_rate']:.4f}" for kind, one in row["by_noise"].items()
                ),
            )
    for name, row in real["rules"].items():
        told = [
            row["confirmations"],
            row["false_accepts"],
            f"{row['upper_accept']:.3f}",
            f"{row['replicates']:.1f}",
            row["campaigns"],
        ]
        print("| " + " | ".join([f"`{name}`", *map(str, told)]) + " |")


def curse(accepts: int = 120, paired: float = 0.0877 * 2**0.5) -> None:
    """Print how well an accepted gain is corrected: default rule, level 0.005, 12 pairs; gains in
    standard deviations of a paired gain.
    """
    known = {
        "rule": "group_sequential",
        "level": 0.005,
        "effect": 0.0,
        "deviation": 0.0877,
        "most": 12,
        "first_look": 4,
    }
    for true in (0.3, 0.7, 1.0, 1.5, 2.12):
        cells = []
        for kind in ("normal", "bimodal"):
            rng = np.random.default_rng(7)
            noise = (
                rng.standard_normal((12_000, 12))
                if kind == "normal"
                else np.subtract(*rng.choice([1.0, 1.0, 0.1], (2, 12_000, 12))) / 0.6
            )
            x = paired * (true + noise)
            kept, pairs = RULES["group_sequential"].play(
                x, level=0.005, effect=0.0, deviation=0.0877, first_look=4
            )
            rows = [
                row[:n] for row, n in zip(x[kept][:accepts], pairs[kept][:accepts], strict=True)
            ]
            found = [
                (row.mean() / paired, one)
                for row in rows
                if (one := estimate_gain(row, **known)).corrected is not None
            ]
            raw = np.median([m for m, _ in found]) - true
            right = np.median([one.corrected for _, one in found]) / paired - true
            covers = np.mean([one.low <= true * paired <= one.high for _, one in found])
            cells += [
                f"{kept.mean():.1%}",
                f"{len(found)}",
                f"{raw:+.2f}",
                f"{right:+.2f}",
                f"{covers:.2f}",
            ]
        print(f"| {true} | " + " | ".join(cells) + " |")


def main(task: str = "addition", png: str = "") -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "heirloop", "axes.spines.top": False, "axes.spines.right": False}
    )
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 3.8), constrained_layout=True)
    scores(axes[0], read_noise(task))
    found = calibrate(task, "simulated", unattended=False)
    tables(found, calibrate(task, "real", unattended=False))
    curse()
    rates(axes[1], found["rules"])
    powers(axes[2])
    figure.savefig(FIGURES / "judging.svg", metadata={"Date": None})
    if png:
        figure.savefig(png, dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
