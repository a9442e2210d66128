"""The attack catalogue as data: what is tried, who must stop it, and the hostile programs as text
that the host never imports.
"""
