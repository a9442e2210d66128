"""What counts: held-out items, scores, verdicts. Pure functions over records; answers never leave
this side.
"""
