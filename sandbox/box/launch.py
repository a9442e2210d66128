"""Start bubblewrap: join the control group, pin the core, and as root become an unprivileged user.

Run as `python -I -S launch.py JSON`. Standard library only, in a single file. As root it works in a
mount namespace of its own and binds the files of the box below one readable folder. So the
unprivileged user needs no access to a private home.
"""

import ctypes
import json
import os
import sys

NEWNS, BIND, REC, PRIVATE = 0x20000, 4096, 16384, 1 << 18
STAGE = "/mnt"


def stage(sources: dict[str, str]) -> None:
    """Enter a mount namespace of our own, and bind each source at STAGE/name in it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(code: int) -> None:
        if code != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    call(libc.unshare(NEWNS))
    call(libc.mount(b"none", b"/", None, REC | PRIVATE, None))
    opened = {name: os.open(path, os.O_PATH) for name, path in sources.items()}
    call(libc.mount(b"tmpfs", STAGE.encode(), b"tmpfs", 0, b"mode=755"))
    for name, fd in opened.items():
        target = f"{STAGE}/{name}"
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        call(libc.mount(f"/proc/self/fd/{fd}".encode(), target.encode(), None, BIND, None))
        os.close(fd)


def main() -> None:
    """Follow the order in the argument, then become bubblewrap."""
    order = json.loads(sys.argv[1])
    for path in order["procs"]:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    if order["cpu"] is not None:
        os.sched_setaffinity(0, {order["cpu"]})
    if order["uid"] is not None:
        stage(order["stage"])
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    os.execve(order["argv"][0], order["argv"], {})  # defence: environment of the launch


main()
