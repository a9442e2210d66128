"""The settings of a study: the decisions that people take before it starts.

One file per Hydra group. Begin with `config.py`.
"""
