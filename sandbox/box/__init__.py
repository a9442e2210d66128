"""Isolated places to run one job: namespaces, or Docker. Each keeps the contract of `base.Box`."""
