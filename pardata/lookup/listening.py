"""The socket of a look-up service: at a port, or at a path that a lock file beside it guards."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Final

from pardata.errors import ConfigError
from pardata.memory.locking import HolderLock
from pardata.process.capacity import lacks_descriptors, refusal
from pardata.process.system import unsupported

OWN_DESCRIPTORS: Final = 5  # lock, listener, and the pipe that wakes waitress, one end of which it has twice


def listen(address: str) -> tuple[socket.socket, str, HolderLock | None]:
    """Return a socket bound to an address, the address with its port, and the lock on its path, if it has one.

    Raises `ConfigError` if the address is taken or of another form, `CapacityError` for want of descriptors.
    """
    try:
        if address.startswith("unix:"):
            return _listen_at(address.removeprefix("unix:"))
        host, _, port = address.removeprefix("http://").partition(":")
        if host not in ("127.0.0.1", "localhost") or not port.isdecimal():
            raise ConfigError(
                f"address must be unix:<path> or 127.0.0.1:<port>, not {address!r}; for other machines have a server "
                f"of your choice run pardata.lookup.service.LookupApp behind TLS"
            )
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", int(port)))
            stack.pop_all()
        return sock, f"http://127.0.0.1:{sock.getsockname()[1]}", None
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and lacks_descriptors(error):
            raise refusal(error.errno or errno.EMFILE, "a look-up service", OWN_DESCRIPTORS) from error
        raise ConfigError(f"no service can be opened at {address}: {error}") from error


def _listen_at(place: str) -> tuple[socket.socket, str, HolderLock]:
    """Return the same as `listen`, for a path.

    The lock is a file of this process beside the path; if it is taken, this raises at once. A lock on the folder could
    be held by any other program.
    """
    if not hasattr(socket, "AF_UNIX"):
        unsupported("a service at a path", "a POSIX system")
    lock = HolderLock(place, "served")
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _remove_stale(place)
        sock.bind(place)
        os.chmod(place, 0o600)  # before `listen`, so before any connection
        sock.listen()
        stack.pop_all()
    return sock, f"unix:{place}", lock


def socket_identity(address: str) -> tuple[int, int] | None:
    """Return device and inode number of the socket at an address; None if there is none."""
    if not address.startswith("unix:"):
        return None
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(address.removeprefix("unix:"))
        return status.st_dev, status.st_ino
    return None


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that was killed; a socket that answers, and any other file, stays."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
