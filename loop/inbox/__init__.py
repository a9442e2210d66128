"""Which pages do people get on the web? They read requests, sign in their own browser, watch, stop.

The inbox works offline and holds no private key: the browser signs, the server checks. Begin with
`app.py`; `sign_in.py` says who is let in, `decide.py` and `watch.py` have the addresses. `heirloop
inbox RUNS` serves it, on loopback unless TLS is set up.
"""
