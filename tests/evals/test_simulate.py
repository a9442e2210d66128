"""Simulated trainings repeat, whatever knobs are added later."""

from configs.recipe import Recipe
from evals import simulate


def test_a_later_knob_leaves_the_simulated_numbers_as_they_were():
    old = (
        "Recipe(learning_rate=0.0003, schedule='constant', warmup=0.0, weight_decay=0.01,"
        " beta1=0.9, beta2=0.999, batch_size=64, width=64, depth=2, heads=4, dropout=0.0,"
        " loss='all', answer_order='plain', operand_order='plain', curriculum=0.0,"
        " gradient_clip=0.0, notebook=0.0)"
    )
    assert simulate._write(Recipe()) == old
    assert simulate._write(Recipe(shift="half")) == old[:-1] + ", shift='half')"
