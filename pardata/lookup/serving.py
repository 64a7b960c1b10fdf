"""Serve a look-up to other programs on this machine."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import socket
import stat
import threading
from typing import Any, Final

from pardata.errors import ConfigError, MissingExtraError
from pardata.files.locking import HolderLock
from pardata.lookup.base import Lookup
from pardata.lookup.client import Service
from pardata.memory.named import session
from pardata.process.interrupts import Uninterrupted
from pardata.process.system import HAS_SHARED_MEMORY, unsupported

_POLL_S: Final = 30.0  # how often idle connections are looked at; a stop does not wait for it
_END_S: Final = 1.0  # for a thread whose request takes longer than waitress waits for it: it is left to itself


class Server:
    """A running look-up service; made by `serve`.

    Attributes
    ----------
    address : str
        ``unix:<path>`` or ``http://127.0.0.1:<port>``.
    token : str
        What a client must show.
    """

    def __init__(self, lookup: Lookup, address: str | None, token: str | None, threads: int) -> None:
        try:
            from waitress import server, wasyncore

            from pardata.lookup.service import MOST_BODY_BYTES, LookupApp
        except ImportError as error:
            raise MissingExtraError("a look-up service needs more packages: pip install pardata[http]") from error
        self._wasyncore = wasyncore
        self.token = secrets.token_urlsafe(32) if token is None else token
        self._connections: dict[Any, Any] = {}
        self._answering: set[threading.Thread] = set()
        self._stopping = True  # until it runs
        self._pid = os.getpid()
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that a request has to wait is nobody's news
        app = LookupApp(lookup, self.token)

        def answer(environ: Any, start_response: Any) -> Any:
            self._answering.add(threading.current_thread())
            return app(environ, start_response)

        try:
            with Uninterrupted():
                self._open(answer, address, server.create_server, threads, MOST_BODY_BYTES)
        except BaseException:
            self.close()
            raise

    def _open(self, app: Any, address: str | None, create: Any, threads: int, most_bytes: int) -> None:
        # The default lies in a directory that nobody else may enter, and is removed also if this process is killed.
        if not address:
            has_paths = HAS_SHARED_MEMORY and hasattr(socket, "AF_UNIX")  # the socket lies in the session's directory
            address = f"unix:{session.tree().new_socket_path()}" if has_paths else "127.0.0.1:0"
        listener, self.address, self._lock = _listen(address)
        self._socket = _identity(self.address)
        self._server = create(
            app,
            map=self._connections,
            sockets=[listener],
            threads=threads,
            max_request_body_size=most_bytes,
            clear_untrusted_proxy_headers=True,
            ident="pardata",
        )
        self._thread = threading.Thread(target=self._run, name="pardata-service", daemon=True)
        self._stopping = False
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while not self._stopping:
            self._wasyncore.loop(timeout=_POLL_S, use_poll=True, map=self._connections, count=1)

    def lookup(self, **options: Any) -> Service:
        """Return a client of this service; options as for `Service`."""
        return Service(self.address, self.token, **options)

    def close(self) -> None:
        """End the service; requests that are being answered get their answer, connections are closed.

        The end of the program does the same. In a forked child nothing happens: the service is its parent's.
        """
        if self._stopping or os.getpid() != self._pid:
            return
        self._stopping = True
        atexit.unregister(self.close)
        self._server.pull_trigger()
        if self._thread.ident is not None:
            self._thread.join()
        self._server.task_dispatcher.shutdown()
        for thread in list(self._answering):  # it has been told to end, and holds its last answer until it has
            thread.join(_END_S)
        self._wasyncore.close_all(self._connections)  # not before: the trigger is one of them
        if self._lock is not None:
            if _identity(self.address) == self._socket:  # else it is somebody else's by now
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.address.removeprefix("unix:"))
            self._lock.release()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server at {self.address}{', closed' if self._stopping else ''}>"


def _listen(address: str) -> tuple[socket.socket, str, HolderLock | None]:
    """Return a socket bound to an address, the address with its port, and the lock on a place in the file system.

    Raises `ConfigError` if it is taken, or is none.
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
        raise ConfigError(f"no service can be opened at {address}: {error}") from error


def _listen_at(place: str) -> tuple[socket.socket, str, HolderLock]:
    """As `_listen`, at a place in the file system.

    The lock is a file of this process beside it, and nobody waits for it: one on the folder could be a stranger's.
    """
    if not hasattr(socket, "AF_UNIX"):
        unsupported("a service at a path", "a POSIX system")
    lock = HolderLock(place, "served")
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _remove_stale(place)
        sock.bind(place)
        os.chmod(place, 0o600)  # before anybody can connect
        sock.listen()
        stack.pop_all()
    return sock, f"unix:{place}", lock


def _identity(address: str) -> tuple[int, int] | None:
    """Return what tells a socket of the file system from another one at the same path."""
    if not address.startswith("unix:"):
        return None
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(address.removeprefix("unix:"))
        return status.st_dev, status.st_ino
    return None


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that was killed; what answers, or is no socket, stays."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def serve(lookup: Lookup, address: str | None = None, *, token: str | None = None, threads: int = 4) -> Server:
    """Serve a look-up to other programs on this machine, until the ``with`` block ends.

    Parameters
    ----------
    lookup : Table, Database or Service
    address : str, optional
        ``"unix:<path>"`` or ``"127.0.0.1:<port>"`` (port 0: any). Default: a Unix socket that only this user can reach,
        where there are such sockets.
    token : str, optional
        Default: a new one; ``.token`` tells.
    threads : int
        That answer requests.

    Raises
    ------
    ConfigError
        A wrong argument, or the address is taken.
    MissingExtraError
        Werkzeug or waitress is not installed.
    """
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be an int of at least 1, not {threads!r}")
    return Server(lookup, address, token, threads)
