"""What is a plan worth? Train replicates and score them, through the one door.

Begin with `replicate.py`.
"""
