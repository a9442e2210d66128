"""How is `heirloop` typed? Each topic has a module of verbs.

Begin with `main.py`.
"""
