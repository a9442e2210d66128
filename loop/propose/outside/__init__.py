"""Proposals of outside models: write the question, read the answer.

Begin with `ask.py`.
"""
