"""Start a porter: with its end of three pipes, and nothing else of this process.

Tests remove lines by `# defence: NAME`.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from sandbox.box import seccomp

HOME = Path(__file__).resolve().parents[2]
START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from sandbox.door.porter import main; main()"
)
"""Program of the porter, which takes nothing from its environment."""
PORTER = """
read write close poll ppoll fcntl ioctl recvmsg mmap munmap mremap mprotect madvise brk futex
rt_sigaction rt_sigprocmask rt_sigreturn clock_gettime clock_nanosleep getrandom exit exit_group
"""
"""System calls of a porter: it reads, writes and waits on what it was given."""


def start_porter(path: str) -> tuple[socket.socket, subprocess.Popen[bytes], int, int]:
    """Start a porter; return the link for connections, it, and our ends of its two pipes."""
    link, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    requests, theirs = os.pipe()
    mine, answers = os.pipe()
    given = [inner.fileno(), theirs, mine]
    calls = seccomp.program_of(PORTER.split()).hex()
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", START, str(HOME), path, *map(str, given), calls],
        pass_fds=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},  # defence: porter's environment
        cwd="/",
        start_new_session=True,
    )
    inner.close()
    os.close(theirs)
    os.close(mine)
    return link, process, requests, answers
