"""Which attacks are there? The catalogue as data; `loop/attack/` runs it.

Begin with `table.py`. Hostile programs lie in `payloads/`, hostile proposals in `proposals/`;
both are text that the host never imports.
"""
