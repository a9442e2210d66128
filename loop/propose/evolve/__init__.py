"""How do programs evolve? A grid of programs, and mutations of a program.

Begin with `database.py`.
"""
