"""How good is a plan? Train replicates and score them, always through the gate.

Begin with `replicate.py`.
"""
