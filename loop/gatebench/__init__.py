"""What are a gate's answers worth? Harm is measured here, and gates are held against it.

Begin with `harm.py`: the sides of a pack are trained beside the baseline.
"""
