"""Where does a job run? In namespaces or in a container; each keeps the contract of `base.Box`.

Begin with `base.py`. `namespace.py` and `docker.py` are the boxes, `watch.py` keeps a job's limits
in both. `launch.py` and `zygote.py` run outside this process: they are copied as single files.
"""
