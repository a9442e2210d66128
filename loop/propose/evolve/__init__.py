"""How do programs evolve? A grid of programs, and mutations of a program.

Begin with `database.py`, from which parents are drawn. `children.py` makes a child by operators
(`mutate.py`), and `model.py` by a model's answer. The cascade: a text must compile and keep to the
marked regions (`patch.py`); then the loop screens it on feedback, then confirms the best.
"""
