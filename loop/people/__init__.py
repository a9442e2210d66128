"""Who decides, and what do they see? Requests, acts, amendments, the stand-in, notices.

Begin with `requests.py`; `shown.py` builds the view of a plan that a reviewer gets.
"""
