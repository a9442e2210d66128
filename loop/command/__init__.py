"""Which verbs can I type? Each topic has its own module.

Begin with `main.py`.
"""
