"""Defences inside a box, taken away by the marks `# defence: NAME` in their sources."""

import re

MARKED = ("zygote.py", "launch.py", "forward.py")
"""Sources of the processes in a box, whose lines name the defence that they are."""


def instead(source, name, text=""):
    """Return a source with other text where a defence is marked; without a text the line goes."""
    mark = re.compile(rf"^( *)\S.*  # defence: {re.escape(name)}\n", re.M)
    assert len(mark.findall(source)) == 1, f"the source marks no defence {name!r}, or several"
    changed = mark.sub("", source)
    if text or not compiles(changed):
        changed = mark.sub(lambda line: f"{line[1]}{text or 'pass'}\n", source)
    assert changed != source and compiles(changed), name
    return changed


def marks(source):
    """Return the names of the defences that a source marks."""
    return re.findall(r"  # defence: (.*)", source)


def compiles(source):
    """Tell whether a text is a Python program."""
    try:
        compile(source, "changed", "exec")
    except SyntaxError:
        return False
    return True
