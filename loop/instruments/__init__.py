"""What was achieved? Closure, loss and amplification, computed from recorded runs.

Begin with `measure.py`.
"""
