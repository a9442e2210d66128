"""Who decides, and how? Requests, acts, amendments, the stand-in and notices.

Begin with `requests.py`. `view.py` makes the reviewer's record (`shown.py`). `sign.py` is the
ceremony at a terminal. `notice.py` and `send.py` call people.
"""
