"""The system calls that a bundle's process may make once its model is loaded, and the compiler of the programs for it.

    python3 -m solofile.builder.seccomp_lists > runtime/seccomp_programs.py

It needs libseccomp and its Python binding (Debian: python3-seccomp) or pyseccomp, which offers the same over the
library. What is listed under no word is ENOSYS for the CPU's profile, so that a C library that tries something newer
falls back to what it did before; it is allowed for the GPU's, whose drivers nobody can list.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from solofile.runtime.seccomp import CPU, GPU, OWN_PROCESS

ARCHITECTURES = ("x86_64", "aarch64")

FILES = """
read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 open openat close close_range lseek
stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents getdents64
dup dup2 dup3 fcntl flock fsync fdatasync ftruncate truncate fallocate fadvise64 readahead sync_file_range
copy_file_range sendfile mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 getcwd umask
"""

MEMORY = "brk munmap mremap madvise mincore msync mlock mlock2 munlock mlockall munlockall membarrier"
NUMA = "mbind set_mempolicy get_mempolicy move_pages migrate_pages"

THREADS = """
futex futex_waitv set_robust_list get_robust_list rseq set_tid_address gettid exit exit_group restart_syscall
sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority setpriority
getcpu arch_prctl rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause
wait4 waitid
"""

TIME = """
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getitimer setitimer alarm
timer_create timer_settime timer_gettime timer_delete timer_getoverrun timerfd_create timerfd_settime timerfd_gettime
"""

WAITING = """
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 pipe pipe2
"""

SOCKETS = "accept accept4 recvfrom recvmsg recvmmsg sendmsg shutdown getsockname getpeername getsockopt setsockopt"
"""Of sockets that are there: the one that listens, and those of clients. Connected ones take no address of others."""

FACTS = """
getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgid getpgrp getsid uname sysinfo
getrusage getrlimit getrandom capget
"""

ALLOWED = " ".join((FILES, MEMORY, NUMA, THREADS, TIME, WAITING, SOCKETS, FACTS)).split()

PROGRAMS = "execve execveat fork vfork"
OTHERS = "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_open pidfd_getfd pidfd_send_signal"
SIGNALS = "kill tkill rt_sigqueueinfo rt_tgsigqueueinfo"
NETWORK = "socket connect bind listen"
ATTRIBUTES = """
chmod fchmod fchmodat chown fchown lchown fchownat utime utimes futimesat setxattr lsetxattr fsetxattr removexattr
lremovexattr fremovexattr link linkat symlink symlinkat mknod mknodat
"""
"""What Landlock does not restrict, and what nothing here needs."""
KERNEL = """
mount umount2 pivot_root chroot unshare setns move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr swapon
swapoff reboot kexec_load kexec_file_load init_module finit_module delete_module bpf perf_event_open userfaultfd
io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key personality quotactl acct syslog iopl ioperm
open_by_handle_at name_to_handle_at settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname
setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset vhangup fanotify_init
lookup_dcookie modify_ldt
"""
REFUSED = " ".join((PROGRAMS, OTHERS, SIGNALS, NETWORK, ATTRIBUTES, KERNEL)).split()

_PROT_EXEC, _CLONE_THREAD, _AF_UNIX = 4, 0x10000, 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # typing into the terminal that the program was started from
_TERMINAL = (0x5401, 0x5413, 0x5421, 0x541B, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONBIO FIONREAD FIONCLEX FIOCLEX
_PRCTL = (15, 16, 0x53564D41, 3, 21)  # set and get the name, name memory, get dumpable, get seccomp


def compiled(profile: str, architecture: str) -> bytes:
    """One program: instructions as the kernel takes them (struct sock_filter, little-endian)."""
    library = _library()
    default = library.ERRNO(errno.ENOSYS) if profile == CPU else library.ALLOW
    made = library.SyscallFilter(default)
    wanted = getattr(library.Arch, architecture.upper())
    if wanted != library.system_arch():
        made.add_arch(wanted)
        made.remove_arch(library.system_arch())
    rules = _Rules(library, made, wanted, default)
    for name in REFUSED:
        rules.refuse(name)
    _arguments(rules, profile)
    if profile == CPU:
        for name in ALLOWED:
            rules.allow(name)
        _arguments_of_cpu(rules)
    return _exported(made)


class _Rules:
    """Adds rules for one architecture; calls that it does not have are left out, and what is so by default."""

    def __init__(self, library: Any, made: Any, architecture: int, default: Any) -> None:
        self.library, self._made, self._architecture, self._default = library, made, architecture, default

    def allow(self, name: str, *conditions: Any) -> None:
        self._add(self.library.ALLOW, name, conditions)

    def refuse(self, name: str, *conditions: Any, code: int = errno.EPERM) -> None:
        self._add(self.library.ERRNO(code), name, conditions)

    def when(self, place: int, kind: str, *values: int) -> Any:
        return self.library.Arg(place, getattr(self.library, kind), *values)

    def _add(self, action: Any, name: str, conditions: tuple[Any, ...]) -> None:
        try:
            number = self.library.resolve_syscall(self._architecture, name)
        except (ValueError, RuntimeError):  # this libseccomp does not know it
            number = -1
        if number >= 0 and action != self._default:
            self._made.add_rule(action, name, *conditions)


def _arguments(rules: _Rules, profile: str) -> None:
    """What depends on an argument, in both profiles."""
    # The C library then makes its threads by clone, whose flags can be seen.
    rules.refuse("clone3", code=errno.ENOSYS)
    rules.refuse("clone", rules.when(0, "MASKED_EQ", _CLONE_THREAD, 0))
    rules.refuse("tgkill", rules.when(0, "NE", OWN_PROCESS))
    rules.refuse("sendto", rules.when(4, "NE", 0))
    rules.refuse("socketpair", rules.when(0, "NE", _AF_UNIX))
    rules.refuse("utimensat", rules.when(1, "NE", 0))
    rules.refuse("prlimit64", rules.when(0, "NE", 0))
    for request in (_TIOCSTI, _TIOCLINUX):
        rules.refuse("ioctl", rules.when(1, "MASKED_EQ", 0xFFFFFFFF, request))
    if profile == CPU:
        for name in ("mmap", "mprotect", "pkey_mprotect"):
            rules.refuse(name, rules.when(2, "MASKED_EQ", _PROT_EXEC, _PROT_EXEC))
        rules.refuse("memfd_create")
        rules.refuse("shmat")


def _arguments_of_cpu(rules: _Rules) -> None:
    """The other side of the same: what is allowed where nothing is by default."""
    rules.allow("clone", rules.when(0, "MASKED_EQ", _CLONE_THREAD, _CLONE_THREAD))
    rules.allow("tgkill", rules.when(0, "EQ", OWN_PROCESS))
    rules.allow("sendto", rules.when(4, "EQ", 0))
    rules.allow("socketpair", rules.when(0, "EQ", _AF_UNIX))
    rules.allow("utimensat", rules.when(1, "EQ", 0))
    rules.allow("prlimit64", rules.when(0, "EQ", 0))
    for name in ("mmap", "mprotect"):
        rules.allow(name, rules.when(2, "MASKED_EQ", _PROT_EXEC, 0))
    for request in _TERMINAL:
        rules.allow("ioctl", rules.when(1, "MASKED_EQ", 0xFFFFFFFF, request))
    for what in _PRCTL:
        rules.allow("prctl", rules.when(0, "EQ", what))


def _exported(made: Any) -> bytes:
    reading, writing = os.pipe()
    with open(reading, "rb") as result:  # noqa: PTH123 - a descriptor
        with open(writing, "wb") as target:  # noqa: PTH123
            made.export_bpf(target)
        return result.read()


def _library() -> Any:
    """libseccomp's own binding, or the one on PyPI with the same names."""
    try:
        return import_module("seccomp")
    except ImportError:
        return import_module("pyseccomp")


def module() -> Iterator[str]:
    """The lines of runtime/seccomp_programs.py."""
    yield '"""What libseccomp makes of builder/seccomp_lists.py: (machine, profile) -> instructions in hexadecimal."""'
    yield ""
    yield "PROGRAMS = {"
    for architecture in ARCHITECTURES:
        for profile in (CPU, GPU):
            yield f'    ("{architecture}", "{profile}"): ('
            code = compiled(profile, architecture).hex()
            yield from (f'        "{code[start : start + 96]}"' for start in range(0, len(code), 96))
            yield "    ),"
    yield "}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(module()) + "\n")
