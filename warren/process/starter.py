"""The helper that starts programs: a process with one thread, which imports nothing of Warren.

    supervisor --- a start's own socket ---> helper --- clone3 ---> child: the supervisor's own,
         |                                                            |    forked into its cgroup
         `--- that socket: pid and pidfd; its program; its byte; why it cannot be run

Run by `helper.py` as `python -I -S /dev/fd/N SOFT_LIMIT`, its socket as stdin. A process with
threads may not clone and then run Python, and one that moves a process into a cgroup waits some
10 ms for the kernel; a child forked into it does not wait. Where the kernel refuses that, the child
joins by itself: our event loop does not wait.

Once forked, the child sends its pid and waits for its program, which may come long after. It finds
the program, sets up its context, and waits at its gate. A socket whose far end is closed ends the
child, so that a program never runs unrecorded; one that ends without a message means that there is
no child, and will not be.

The helper ends with its socket. It does not pass on what it was started with (ignored signals, a
mask, a umask): its children get what `docs/service-file.md` promises.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import marshal
import os
import resource
import signal
import socket
import struct
import sys

UMASK = 0o022
_NAME = b"warren-starter"
_DESCRIPTORS = 2  # what a child is sent: the output, the payload
_LONGEST = 8192  # bytes of a request: a path
_CLONE_PARENT = 0x8000
_CLONE_INTO_CGROUP = 0x200000000
_SYS_CLONE3 = 435  # on every architecture
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220}
_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134, "loongarch64": 134}
_SIGACTION_SIZE = 64  # the kernel's is smaller; all zero: the default
# Not available here: an old kernel, or a seccomp filter. Anything else is an error of this start.
_REFUSALS = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EACCES, errno.EOPNOTSUPP)
_NO_MEMORY = OSError(errno.ENOMEM, "")
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38

# PyDLL keeps the interpreter's lock: the child goes on in Python as its only thread.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main() -> None:
    """Serve requests until the socket ends. `argv[1]` is the soft limit of descriptors, or `-`."""
    _reset(sys.argv[1])
    control = socket.socket(fileno=0)
    while True:
        request, handles = _receive(control, _LONGEST, 1)
        if not request:
            return
        for gate in handles:
            _serve(gate, request[1:], joins=request.startswith(b"J"))
            os.close(gate)


def _receive(connection: socket.socket, size: int, count: int) -> tuple[bytes, array.array[int]]:
    """A message with its descriptors; fewer than `count` where there is no room for them."""
    room = socket.CMSG_SPACE(count * 4)
    word, ancillary, _, _ = connection.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    handles = array.array("i")
    for _level, _kind, data in ancillary:
        handles.frombytes(data)
    return word, handles


def _reset(soft: str) -> None:
    """Set up the state that every child inherits."""
    os.close(int(sys.argv[0].rpartition("/")[2]))  # this file, which has been read
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # the supervisor may lack some
        pass
    os.close(handle)
    _libc.prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    default_internal_signals()
    os.umask(UMASK)
    os.chdir("/")
    if soft != "-":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), hard))


def default_internal_signals() -> None:
    """glibc's posix_spawn lets children ignore the two signals it keeps for itself, which its own
    functions cannot change. Python starts programs by it from 3.13 on."""
    if (call := _SYS_RT_SIGACTION.get(os.uname().machine)) is not None:
        for number in (32, 33):
            _libc.syscall(call, number, bytes(_SIGACTION_SIZE), None, ctypes.c_size_t(8))


def _serve(gate: int, cgroup: bytes, *, joins: bool) -> None:
    """Fork one child. What goes wrong is sent on its start's own socket."""
    try:
        is_born_there, pid = _fork(cgroup, joins=joins)
    except OSError as error:
        _tell_failure(gate, "fork", error)
        return
    except MemoryError:
        _tell_failure(gate, "fork", _NO_MEMORY)
        return
    if pid == 0:
        try:
            _become(gate, b"" if is_born_there else cgroup)
        finally:
            os._exit(125)


def _fork(cgroup: bytes, *, joins: bool) -> tuple[bool, int]:
    """A child of the supervisor; whether it is forked into the cgroup, and its pid, 0 in itself."""
    if not cgroup:
        return True, _clone()
    if joins:
        return False, _clone()
    directory = os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return True, _clone3(directory)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
    finally:
        os.close(directory)
    return False, _clone()


def _clone3(directory: int) -> int:
    if "--no-clone3" in sys.argv:
        raise OSError(errno.ENOSYS, "not to be used")
    # flags, ..., cgroup: `struct clone_args` of Linux 5.7. With CLONE_PARENT the signal of its end
    # is the helper's own and must not be given.
    arguments = struct.pack("=11Q", _CLONE_PARENT | _CLONE_INTO_CGROUP, *(0,) * 9, directory)
    return _checked(_libc.syscall(_SYS_CLONE3, arguments, ctypes.c_size_t(len(arguments))))


def _clone() -> int:
    number = _SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"no way to clone on {os.uname().machine}")
    flags = ctypes.c_ulong(_CLONE_PARENT | signal.SIGCHLD)
    nothing = ctypes.c_void_p(None)
    return _checked(_libc.syscall(number, flags, nothing, nothing, nothing, nothing))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


# In the child


def _become(gate: int, cgroup: bytes) -> None:
    """Send our pid, receive our program, wait for our byte, exec. Returns only where that
    fails. `cgroup` is one to join."""
    with socket.socket(fileno=gate) as start:
        pid = os.getpid()
        # Before it leads a session: one that dies before it was reported is reaped as a stray.
        try:
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)  # which was the helper's socket: it must end with the helper
            os.close(nothing)
            itself = array.array("i", [os.pidfd_open(pid)])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, itself)]
            start.sendmsg([b"P%d" % pid], rights, socket.MSG_NOSIGNAL)
            os.close(itself[0])
        except OSError as error:
            _tell_failure(gate, f"fork of {pid}", error)
            return
        stage = "start"
        try:
            os.setsid()
            stage = "cgroup"
            if cgroup:
                _join(cgroup)
            stage = "start"
            _rehearse()
            word, handles = _receive(start, 1, _DESCRIPTORS)
            if not word:
                return
            output, request = _read(handles)
            os.dup2(output, 1)
            os.dup2(output, 2)
            stage = "cwd"
            os.chdir(request["cwd"])  # type: ignore[arg-type]
            stage = "find"
            path = _find(request)
            stage = "user"
            _take_ids(request["ids"])  # type: ignore[arg-type]
            if not request["new_privileges"]:
                _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            if not start.recv(1):
                return
            stage = "exec"
            _exec(path, request)
        except OSError as error:
            _tell_failure(start.fileno(), stage, error)
        except MemoryError:
            _tell_failure(start.fileno(), stage, _NO_MEMORY)


_EXAMPLE: dict[str, object] = {
    "paths": [b"/bin/sh"],
    "argv": [b"sh"],
    "env": {b"PATH": b"/bin"},
}


def _rehearse() -> None:
    """Run the steps to come once without effect: pages shared since the fork are copied at the
    first touch, which takes as long as all the rest."""
    here, there = socket.socketpair()
    with here, there:
        payload = os.memfd_create("warren-start", os.MFD_CLOEXEC)
        os.write(payload, marshal.dumps(_EXAMPLE))
        given = array.array("i", [payload, payload])
        there.sendmsg([b"R"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
        os.close(payload)
        _, handles = _receive(here, 1, _DESCRIPTORS)
        _, request = _read(handles)
        os.dup2(1, 1)
        os.chdir("/")
        _find(request)
        there.send(b"\n")
        here.recv(1)
        with contextlib.suppress(OSError):
            _exec(b"/", request)
        for handle in handles:
            os.close(handle)


def _read(handles: array.array[int]) -> tuple[int, dict[str, object]]:
    """The output, and the program."""
    if len(handles) < _DESCRIPTORS:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    output, payload = handles
    size = os.fstat(payload).st_size
    return output, marshal.loads(os.pread(payload, size, 0))  # noqa: S302


def _join(cgroup: bytes) -> None:
    handle = os.open(cgroup + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    os.write(handle, b"0")
    os.close(handle)


def _find(request: dict[str, object]) -> bytes:
    paths: list[bytes] = request["paths"]  # type: ignore[assignment]
    for path in paths:
        if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
            return path
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _exec(path: bytes, request: dict[str, object]) -> None:
    os.execve(path, request["argv"], request["env"])  # type: ignore[arg-type]  # noqa: S606


def _take_ids(ids: tuple[int, int, tuple[int, ...]] | None) -> None:
    if ids is not None:
        uid, gid, groups = ids
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _tell_failure(gate: int, stage: str, error: OSError) -> None:
    word = b"E%d %s" % (error.errno or 0, stage.encode())
    start = socket.socket(fileno=gate)  # not a copy: there may be no descriptor left for one
    with contextlib.suppress(OSError):
        start.send(word, socket.MSG_NOSIGNAL)  # the reader may be gone
    start.detach()


if __name__ == "__main__":
    main()
