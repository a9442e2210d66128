"""Can the measuring be trusted? Seed noise, error rates of the rules, power, tasks, known worlds.

Begin with `rules.py`. `trainings.py` opens the studies of trainings alone that the others rest on.
"""
