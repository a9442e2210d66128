"""Can the measuring be trusted? Noise, error rates, power, planted worlds.

Begin with `trainings.py`.
"""
