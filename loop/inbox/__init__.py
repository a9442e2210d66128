"""The web inbox: where people read what waits, sign decisions in their own browser, watch runs and
stop them.

It works offline and holds no private key: the browser signs, the server checks. `app.py` is the
routes, `door.py` who may come in, `pages.py` what a page shows. `heirloop inbox RUNS` serves it, on
loopback unless TLS is set up.
"""
