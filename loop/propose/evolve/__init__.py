"""Programs that evolve: a grid of programs and the mutations of one.

Begin with `database.py`.
"""
