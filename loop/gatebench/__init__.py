"""Test a gate: show it plans of known harm, blind and in random order, and count its answers.

Begin with play.py, which asks the gate; harm.py trains the plans of a pack, so that their harm is
known. docs/your-gate.md tells how to test a gate of one's own.
"""
