"""System calls made inside a running program, as whoever has taken it over would make them.

A thread of the program is stopped by ptrace while it waits in a system call. Its registers are kept, others put in
their place for one more call from the same instruction, and afterwards it goes on as it was, its own call having been
interrupted by a signal. What the program's sandbox says of the call is what it says to any code of the program.
"""

import ctypes
import os
import pathlib
import platform
import signal
import struct

import pytest

PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_ATTACH, PTRACE_DETACH = 9, 12, 13, 16, 17
SYSCALL = b"\x0f\x05"
SCRATCH = 16384      # bytes below the stack pointer, and below what the interrupted functions may use there
EINTR = 4

NUMBERS = {"read": 0, "write": 1, "open": 2, "close": 3, "mmap": 9, "mprotect": 10, "ioctl": 16, "writev": 20,
           "pwrite64": 18, "dup": 32, "dup2": 33, "sendfile": 40, "socket": 41, "connect": 42, "sendto": 44, "recvfrom": 45,
           "sendmsg": 46, "bind": 49, "listen": 50, "socketpair": 53, "setsockopt": 54, "getsockopt": 55, "fork": 57, "execve": 59, "kill": 62,
           "fcntl": 72, "rename": 82, "mkdir": 83, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "ptrace": 101,
           "setuid": 105, "capset": 126, "mknod": 133, "prctl": 157, "mount": 165, "sched_setaffinity": 203,
           "sched_setscheduler": 144, "tgkill": 234, "keyctl": 250, "openat": 257, "unshare": 272, "splice": 275,
           "tee": 276, "vmsplice": 278, "dup3": 292, "pwritev": 296, "rt_tgsigqueueinfo": 297, "prlimit64": 302, "sendmmsg": 307,
           "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "sched_setattr": 314, "memfd_create": 319,
           "bpf": 321, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434,
           "pidfd_getfd": 438}


class Registers(ctypes.Structure):
    """struct user_regs_struct of x86-64."""
    _fields_ = [(name, ctypes.c_ulonglong) for name in
                ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base"
                 " ds es fs gs").split()]


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, tid, data=None):
    if libc.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}")


class Inside:
    """`with Inside(pid) as call:` call("socket", AF_UNIX, ...) is what the kernel returns: a negative errno if refused.

    Arguments are numbers, or bytes that are put into the program's memory, the first ones at `call.memory`.
    """

    def __init__(self, pid):
        if platform.machine() != "x86_64":
            pytest.skip("calls inside a program are made on x86-64 only")
        self.pid = pid

    def __enter__(self):
        while True:
            ptrace(PTRACE_ATTACH, self.pid)
            os.waitpid(self.pid, 0x40000000)        # __WALL
            self.kept = self.registers()
            with open(f"/proc/{self.pid}/mem", "rb") as memory:
                memory.seek(self.kept.rip - 2)
                waits = self.kept.orig_rax < 1 << 63 and memory.read(2) == SYSCALL
            if waits:
                self.memory = (self.kept.rsp - SCRATCH) & ~63
                return self
            ptrace(PTRACE_DETACH, self.pid)         # at work: it will wait again

    def registers(self):
        registers = Registers()
        ptrace(PTRACE_GETREGS, self.pid, ctypes.byref(registers))
        return registers

    def __call__(self, name, *arguments):
        at = self.memory
        values = []
        with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
            for value in arguments:
                if isinstance(value, bytes):
                    memory.seek(at)
                    memory.write(value + bytes(8))
                    values.append(at)
                    at += (len(value) + 8 + 63) & ~63
                else:
                    values.append(value & 0xffffffffffffffff)
        values += [0] * (6 - len(values))
        now = Registers.from_buffer_copy(self.kept)
        now.rip -= 2
        now.rax, now.orig_rax = NUMBERS[name], 0xffffffffffffffff
        now.rdi, now.rsi, now.rdx, now.r10, now.r8, now.r9 = values
        ptrace(PTRACE_SETREGS, self.pid, ctypes.byref(now))
        ptrace(PTRACE_SINGLESTEP, self.pid)
        _, status = os.waitpid(self.pid, 0x40000000)
        assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP, (name, status)
        return ctypes.c_longlong(self.registers().rax).value

    def message(self, data, name=b""):
        """A struct mmsghdr of one piece, to be passed as the first bytes."""
        head = 64
        iov = struct.pack("QQ", self.memory + head + 16, len(data))
        at_name = self.memory + head + 16 + len(data) if name else 0
        return struct.pack("QIxxxxQQQQIxxxxIxxxx", at_name, len(name), self.memory + head, 1, 0, 0, 0, 0) + iov + data + name

    def sockets(self, family):
        """The descriptors that are sockets of a family: "unix" or "packet"."""
        lines = pathlib.Path(f"/proc/{self.pid}/net/{family}").read_text().splitlines()
        inode = lines[0].split().index("Inode")
        of_family = {f"socket:[{line.split()[inode]}]" for line in lines[1:]}
        return [int(fd.name) for fd in pathlib.Path(f"/proc/{self.pid}/fd").iterdir() if os.readlink(fd) in of_family]

    def read(self, address, size):
        """`size` bytes of the program's memory."""
        with open(f"/proc/{self.pid}/mem", "rb") as memory:
            memory.seek(address)
            return memory.read(size)

    def __exit__(self, *_):
        try:
            after = Registers.from_buffer_copy(self.kept)
            after.rax, after.orig_rax = (-EINTR) & 0xffffffffffffffff, 0xffffffffffffffff
            ptrace(PTRACE_SETREGS, self.pid, ctypes.byref(after))
            ptrace(PTRACE_DETACH, self.pid)
        except OSError:
            pass                                    # it has ended
