"""The settings of a study, one file per Hydra group.

Begin with `config.py`.
"""
