"""The reference monitor: what is allowed. The only folder that starts a process for a plan, or
spends.
"""
