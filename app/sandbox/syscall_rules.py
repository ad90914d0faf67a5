"""System calls that no decoder needs; all others are allowed, so that a new Python or libc keeps working."""

import errno
import os

from app.sandbox.seccomp import MASKED_EQUAL, NOT_EQUAL, SyscallRule

_CLONE_THREAD = 0x10000  # linux/sched.h
_NEW_CALLS = (452, *range(463, 512))  # fchmodat2, and calls newer than Linux 6.10: answered as by an older kernel

_NETWORK = """
    socket socketpair socketcall connect bind listen accept accept4
    sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
"""
_PROGRAMS = "execve execveat fork vfork"
_OTHER_PROCESSES = """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_open pidfd_getfd
    pidfd_send_signal kcmp tkill rt_sigqueueinfo rt_tgsigqueueinfo setpriority ioprio_set migrate_pages move_pages
    shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
"""
_CHANGES_OF_FILES = """
    creat mkdir mkdirat mknod mknodat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat
    chmod fchmod fchmodat chown fchown lchown fchownat truncate ftruncate fallocate memfd_create
    setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
    utime utimes utimensat futimesat open_by_handle_at name_to_handle_at
"""
# Docker refuses these to containers, where CUDA works (github.com/moby/moby, profiles/seccomp/default.json)
_CONTAINER_CALLS = """
    unshare setns mount umount umount2 pivot_root move_mount open_tree mount_setattr fsopen fsconfig fsmount fspick
    bpf perf_event_open userfaultfd keyctl add_key request_key init_module finit_module delete_module kexec_load
    kexec_file_load reboot swapon swapoff acct quotactl quotactl_fd syslog settimeofday clock_settime sethostname
    setdomainname iopl ioperm vhangup fanotify_init uselib lookup_dcookie nfsservctl
"""
_KERNEL = """
    chroot io_uring_setup io_uring_enter io_uring_register adjtimex clock_adjtime modify_ldt personality memfd_secret
"""
_NAMESPACES = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]  # clone's namespace flags (linux/sched.h)


def decoder_rules() -> list[SyscallRule]:
    """Return the rules for this process; it may only `kill` itself."""
    return [*_COMMON_RULES, *(SyscallRule(name, errno.EPERM, 0, NOT_EQUAL, os.getpid()) for name in ("kill", "tgkill"))]


def container_rules() -> list[SyscallRule]:
    """Return the rules for a process that has CUDA open, which starts no program but nvidia-modprobe."""
    return [
        *(SyscallRule(name) for name in (*_CONTAINER_CALLS.split(), "execve", "execveat")),
        *(SyscallRule("clone", errno.EPERM, 0, MASKED_EQUAL, flag, flag) for flag in _NAMESPACES),
        SyscallRule("clone3", errno.ENOSYS),
    ]


def _read_only_rules(name: str, flags: int) -> list[SyscallRule]:
    """Return the rules that allow opening files only for reading; the region is already open."""
    modes = [SyscallRule(name, errno.EPERM, flags, MASKED_EQUAL, mode, os.O_ACCMODE) for mode in (1, 2, 3)]
    extra = [SyscallRule(name, errno.EPERM, flags, MASKED_EQUAL, flag, flag) for flag in (os.O_CREAT, os.O_TRUNC)]
    return modes + extra


_COMMON_RULES = (
    *(
        SyscallRule(name)
        for group in (_NETWORK, _PROGRAMS, _OTHER_PROCESSES, _CHANGES_OF_FILES, _CONTAINER_CALLS, _KERNEL)
        for name in group.split()
    ),
    # A filter cannot see their arguments, which are in memory; with ENOSYS libraries use the older call
    *(SyscallRule(call, errno.ENOSYS) for call in ("clone3", "openat2", *_NEW_CALLS)),
    SyscallRule("clone", errno.EPERM, 0, MASKED_EQUAL, 0, _CLONE_THREAD),  # only threads
    *(
        SyscallRule(name, errno.EPERM, 0, NOT_EQUAL, 0)  # only on itself
        for name in ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setscheduler", "sched_setparam")
    ),
    *_read_only_rules("open", 1),
    *_read_only_rules("openat", 2),
)
