"""The system calls of a job: an allow-list for both boxes.

`program` gives the list as classic BPF. The process inside installs it as its last step, after the
last unshare. `profile` gives the list in the engine's format, with the calls that a container's
start needs. All other calls return EPERM: sockets of every family (vsock and netlink too),
io_uring, key rings, ptrace, bpf, perf, mounts, new namespaces, other processes' memory, scheduling
and affinity. Numbers are from the kernel's headers for x86_64 and arm64.
"""

import platform
import struct
from collections.abc import Sequence
from typing import Any

from configs.errors import NoBox

CALLS = """
read 0 63, write 1 64, close 3 57, fstat 5 80, stat 4 -, lstat 6 -, newfstatat 262 79,
statx 332 291, lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, ioctl 16 29, pread64 17 67,
pwrite64 18 68, readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70, access 21 -,
faccessat 269 48, faccessat2 439 439, pipe 22 -, pipe2 293 59, select 23 -, pselect6 270 72,
poll 7 -, ppoll 271 73, sched_yield 24 124, mremap 25 216, msync 26 227, mincore 27 232,
madvise 28 233, dup 32 23, dup2 33 -, dup3 292 24, pause 34 -, nanosleep 35 101,
clock_nanosleep 230 115, getitimer 36 102, setitimer 38 103, alarm 37 -, getpid 39 172,
getppid 110 173, gettid 186 178, fork 57 -, vfork 58 -, execve 59 221, exit 60 93,
exit_group 231 94, wait4 61 260, waitid 247 95, kill 62 129, tgkill 234 131, tkill 200 130,
uname 63 160, fcntl 72 25, flock 73 32, fsync 74 82, fdatasync 75 83, truncate 76 45,
ftruncate 77 46, fallocate 285 47, getdents 78 -, getdents64 217 61, getcwd 79 17, chdir 80 49,
fchdir 81 50, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34,
rmdir 84 -, creat 85 -, link 86 -, linkat 265 37, unlink 87 -, unlinkat 263 35, symlink 88 -,
symlinkat 266 36, readlink 89 -, readlinkat 267 78, chmod 90 -, fchmod 91 52, fchmodat 268 53,
umask 95 166, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114, time 201 -,
times 100 153, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, getuid 102 174,
geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
getgroups 115 158, setpgid 109 154, getpgid 121 155, getpgrp 111 -, setsid 112 157,
getsid 124 156, capget 125 90, prctl 157 167, arch_prctl 158 -, futex 202 98,
sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120,
sched_get_priority_max 146 125, sched_get_priority_min 147 126, set_tid_address 218 96,
set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, getrandom 318 278, sendfile 40 71,
copy_file_range 326 285, eventfd2 290 19, epoll_create1 291 20, epoll_ctl 233 21,
epoll_wait 232 -, epoll_pwait 281 22, statfs 137 43, fstatfs 138 44, utimensat 280 88,
mknod 133 -, mknodat 259 33, membarrier 324 283, getcpu 309 168, open 2 -, openat 257 56,
close_range 436 436, fadvise64 221 223, restart_syscall 219 128
"""
"""name, number on x86_64, number on arm64; `-` for a missing call"""
DOOR_CALLS = """
connect 42 203, shutdown 48 210, getsockname 51 204, getpeername 52 205, getsockopt 55 209
"""
"""further calls of an agent: a client of its doors, with no way to hand on a descriptor"""
FORWARDER_CALLS = "accept4 288 242"
"""further call of the process that forwards to an agent's door (forward.py)"""
SOCKET, SENDTO, RECVFROM, SETSOCKOPT = (41, 198), (44, 206), (45, 207), (54, 208)
SOCKETPAIR = (53, 199)
UNIX, STREAM, OUT_OF_BAND, HOW_OPENED = 1, 1, 1, 0x80800
"""AF_UNIX, SOCK_STREAM, MSG_OOB, and SOCK_CLOEXEC | SOCK_NONBLOCK"""
INET, TCP, NO_DELAY, FAST_OPEN = 2, 6, 1, 0x20000000
"""AF_INET, IPPROTO_TCP, TCP_NODELAY, and MSG_FASTOPEN, which would connect past Landlock"""
PORTER_CALLS = "recvmsg 47 212"
"""further call of the parser of a door's requests (sandbox/door/porter.py)"""
CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)
SETUP = (
    "prlimit64",
    "setrlimit",
    "capset",
    "seccomp",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
)
"""calls of a container's start, before it installs `program`"""
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}
NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME"""
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
LOAD, EQUAL, GREATER, AT_LEAST, ANY, RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
AND = 0x54


def numbers(column: int, table: str = CALLS) -> list[int]:
    """Return the allowed numbers of an architecture, ascending."""
    texts = [row[1 + column] for row in _rows(table)]
    return sorted(int(text) for text in texts if text != "-")


def names() -> list[str]:
    """Return the allowed names."""
    return sorted(row[0] for row in _rows())


def _rows(table: str = CALLS) -> list[list[str]]:
    """Return (name, number, number) of every allowed call."""
    return [part.split() for part in table.replace("\n", " ").split(",") if part.strip()]


def program(machine: str = "", doors: bool = False, tcp: bool = False, more: str = "") -> bytes:
    """Return the filter: sock_filter records for this machine.

    With `doors` the job may also open streams of AF_UNIX, alone or in pairs, and connect them, as
    an agent does; with `tcp` those of TCP over AF_INET too, to the ports that Landlock allows.
    `more` is a table of further calls. Raises NoBox for an architecture without a table.
    """
    column, audit = _machine(machine)
    spans: list[list[int]] = []
    tables = [CALLS, *([DOOR_CALLS] if doors else []), more]
    for number in sorted(number for table in tables for number in numbers(column, table)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    tail = 2 * len(spans)
    code = [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
        (EQUAL, 0, 1, CLONE3[column]),
        (RETURN, 0, 0, ENOSYS),  # its flags lie in memory; the C library falls back to clone
        (EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, 16),
        (ANY, 0, 1, NAMESPACES),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
        (EQUAL, 0, 6, PRLIMIT[column]),
        (LOAD, 0, 0, 32),
        (EQUAL, 0, 3, 0),
        (LOAD, 0, 0, 36),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, EPERM),  # prlimit64 may read a limit, not set one
    ]
    code += _guard_sockets(column, tcp) if doors else []
    for i, (low, high) in enumerate(spans):
        left = tail - 2 * i
        code += [(AT_LEAST, 0, left - 1, low), (GREATER, 0, left - 1, high)]
    code += [(RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in code)


def _guard_sockets(column: int, tcp: bool) -> list[tuple[int, int, int, int]]:
    """Return the part of an agent's filter that reads arguments: streams of AF_UNIX alone, with
    `tcp` of TCP over AF_INET as well; no out-of-band byte, and no connection without `connect`.

    A pair has no address and both ends in the job, so it is a pipe in two directions: event loops
    such as asyncio wake themselves by one.
    """
    unix = [(EQUAL, 0, 4, UNIX)]
    family = unix
    if tcp:  # no other protocol of AF_INET: Landlock's rules are for TCP alone
        family = [(EQUAL, 4, 0, UNIX), (EQUAL, 0, 7, INET), (LOAD, 0, 0, 32)]
        family += [(EQUAL, 1, 0, 0), (EQUAL, 0, 4, TCP)]
    return [
        *_guard_streams(SOCKET[column], family),
        *_guard_streams(SOCKETPAIR[column], unix),
        *(_guard_options(column) if tcp else []),
        (EQUAL, 1, 0, SENDTO[column]),
        (EQUAL, 0, 4, RECVFROM[column]),
        (LOAD, 0, 0, 40),
        (ANY, 0, 1, OUT_OF_BAND | FAST_OPEN),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def _guard_streams(
    number: int, family: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Return the part for a call that opens sockets: streams of this family and nothing else."""
    return [
        (EQUAL, 0, 6 + len(family), number),
        (LOAD, 0, 0, 16),
        *family,
        (LOAD, 0, 0, 24),
        (AND, 0, 0, 0xFFFFFFFF ^ HOW_OPENED),
        (EQUAL, 0, 1, STREAM),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, EPERM),
    ]


def _guard_options(column: int) -> list[tuple[int, int, int, int]]:
    """Return the part for setsockopt: TCP_NODELAY, which libraries set, and nothing else."""
    return [
        (EQUAL, 0, 6, SETSOCKOPT[column]),
        (LOAD, 0, 0, 24),
        (EQUAL, 0, 2, TCP),
        (LOAD, 0, 0, 32),
        (EQUAL, 1, 0, NO_DELAY),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def program_of(names: Sequence[str], machine: str = "") -> bytes:
    """Return a filter that allows these calls of the table alone; at most 200 of them.

    It is for a process that only reads. Raises NoBox for an architecture without a table.
    """
    column, audit = _machine(machine)
    table = {row[0]: row[1 + column] for row in _rows(f"{CALLS}, {PORTER_CALLS}")}
    chosen = [int(table[name]) for name in names if table[name] != "-"]
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    code += [(EQUAL, len(chosen) - i, 0, number) for i, number in enumerate(chosen)]
    code += [(RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in code)


def profile(doors: bool = False, tcp: bool = False) -> dict[str, Any]:
    """Return the list as a profile for the Docker engine; `doors` and `tcp` as for `program`.

    With `tcp` it also has the calls by which a forwarder starts to listen (forward.py).
    """
    allowed = {"action": "SCMP_ACT_ALLOW"}
    clone = {"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            {"names": [*names(), *SETUP], **allowed},
            {"names": ["clone"], "args": [clone], **allowed},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            *({**rule, **allowed} for rule in _list_rules(tcp) if doors),
        ],
    }


def _list_rules(tcp: bool) -> list[dict[str, Any]]:
    """Return an agent's further calls in the engine's format; one matching rule is enough."""
    calls = DOOR_CALLS + (f", bind 0 0, listen 0 0, {FORWARDER_CALLS}" if tcp else "")

    def has(index: int, value: int, mask: int = 0) -> dict[str, Any]:
        if mask:
            return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
        return {"index": index, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"}

    stream = has(1, STREAM, 0xFFFFFFFF ^ HOW_OPENED)
    flags = has(3, 0, OUT_OF_BAND | FAST_OPEN)
    rules: list[dict[str, Any]] = [
        {"names": [row[0] for row in _rows(calls)]},
        {"names": ["socket", "socketpair"], "args": [has(0, UNIX), stream]},
        {"names": ["sendto", "recvfrom"], "args": [flags]},
    ]
    if tcp:
        protocols = [has(2, 0), has(2, TCP)]
        rules += [{"names": ["socket"], "args": [has(0, INET), stream, one]} for one in protocols]
        rules += [{"names": ["setsockopt"], "args": [has(1, TCP), has(2, NO_DELAY)]}]
    return rules


def _machine(name: str = "") -> tuple[int, int]:
    name = name or platform.machine()
    if name not in MACHINES:
        raise NoBox(
            f"there is no system call table for {name}; Heirloop's boxes run on"
            f" {', '.join(MACHINES)}"
        )
    return MACHINES[name]
