"""Reference changes of a table: every better recipe of the grid, each under its own name."""

from dataclasses import replace

import fabricated

from evals.table import World, list_grid
from loop.instruments.references import true_references


def test_every_better_recipe_is_a_reference_under_a_name_of_its_own():
    """Knobs at their defaults count too, in the recipe and in the baseline."""
    world = World(fabricated.fabricate(noise=0.0, notebook=True))
    for position in ("rotary", "learned"):
        baseline = replace(world.table.task.baseline, position=position)
        better = [r for r in list_grid(world.table.task) if world.score(r) < world.score(baseline)]
        names = [one.change for one in true_references(world, baseline) if one.rung == "closing"]
        assert len(names) == len(better) == len(set(names)) > 10
        assert any("position=" in name for name in names)
