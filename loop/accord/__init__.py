"""What do two studies owe each other, and did they keep it? Accords, and evidence of silence.

Begin with `terms.py`: who slows or stops what, from when to when. `check.py` reads files alone.
"""
