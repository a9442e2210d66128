"""Start bubblewrap: join the control group, pin the core, and as root drop to an unprivileged user
first.

Run as `python -I -S launch.py JSON`; standard library only. As root it works in a private mount
namespace and binds what the box reads under one readable folder, so that nothing below a private
home has to be opened to the unprivileged user.
"""

import ctypes
import json
import os
import sys

NEWNS, BIND, REC, PRIVATE = 0x20000, 4096, 16384, 1 << 18
STAGE = "/mnt"


def stage(sources: dict[str, str]) -> None:
    """Bind each source at STAGE/name inside a mount namespace of our own."""
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
    """Do what the JSON says, then become bubblewrap."""
    told = json.loads(sys.argv[1])
    for path in told["procs"]:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    if told["cpu"] is not None:
        os.sched_setaffinity(0, {told["cpu"]})
    if told["uid"] is not None:
        stage(told["stage"])
        os.setgroups([])
        os.setresgid(told["uid"], told["uid"], told["uid"])
        os.setresuid(told["uid"], told["uid"], told["uid"])
    os.execve(told["argv"][0], told["argv"], {})  # defence: environment of the launch


main()
