"""Serve a look-up to other programs on this machine."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import socket
import threading
from typing import Any, Final

from pardata.errors import CapacityError, ConfigError, MissingExtraError
from pardata.lookup.base import Lookup
from pardata.lookup.client import Service
from pardata.lookup.listening import OWN_DESCRIPTORS, listen, socket_identity
from pardata.memory.named import session
from pardata.process.capacity import check_descriptors, explained, free_descriptors, lacks_descriptors, loading
from pardata.process.interrupts import Uninterrupted, join
from pardata.process.system import HAS_SHARED_MEMORY

_POLL_S: Final = 30.0  # between two checks of idle connections; a stop does not wait for it
_FULL_S: Final = 0.1  # between tries to accept where this process may open no more descriptors
_MOST_CONNECTIONS: Final = 100
_END_S: Final = 1.0  # to wait for a thread that still answers when waitress has stopped; it is a daemon


class Server:
    """A running look-up service; made by `serve`, ended by `close` or at the end of a ``with`` block.

    Attributes
    ----------
    address : str
        ``unix:<path>`` or ``http://127.0.0.1:<port>``.
    token : str
        A client must send it with each request.

    Examples
    --------
    >>> with pardata.serve(pardata.Table({"Sirius": -1.46})) as server:
    ...     pardata.Service(server.address, server.token)["Sirius"]
    -1.46
    """

    def __init__(self, lookup: Lookup, address: str | None, token: str | None, threads: int) -> None:
        check_descriptors("a look-up service", OWN_DESCRIPTORS + 2)  # with a connection, and its client's end
        try:
            with loading("a look-up service"):
                from waitress import server, wasyncore

                from pardata.lookup.service import MOST_BODY_BYTES, LookupApp
        except ImportError as error:
            raise MissingExtraError('a look-up service needs more packages: pip install "pardata[http]"') from error
        self._wasyncore = wasyncore
        self.token = secrets.token_urlsafe(32) if token is None else token
        self._connections: dict[Any, Any] = {}
        self._answering: set[threading.Thread] = set()
        self._stopping = True  # until it runs
        self._is_full = False  # this process may open no more descriptors
        self._pid = os.getpid()
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # no warning for each request that waits
        app = LookupApp(lookup, self.token)

        def answer(environ: Any, start_response: Any) -> Any:
            self._answering.add(threading.current_thread())
            return app(environ, start_response)

        try:
            with Uninterrupted(), explained("a look-up service"):
                self._open(answer, address, server.create_server, threads, MOST_BODY_BYTES)
        except BaseException:
            self.close()
            raise

    def _open(self, app: Any, address: str | None, create: Any, threads: int, most_bytes: int) -> None:
        # The default is in the session's directory: no other user may enter it, and it is removed after a kill, too.
        if not address:
            has_paths = HAS_SHARED_MEMORY and hasattr(socket, "AF_UNIX")
            address = f"unix:{_new_path()}" if has_paths else "127.0.0.1:0"
        listener, self.address, self._lock = listen(address)
        self._socket = socket_identity(self.address)
        try:
            self._server = create(
                app,
                map=self._connections,
                sockets=[listener],
                threads=threads,
                connection_limit=_most_open(),
                max_request_body_size=most_bytes,
                clear_untrusted_proxy_headers=True,
                ident="pardata",
            )
        except BaseException:
            listener.close()
            self._release()
            raise
        self._accept, self._server.accept = self._server.accept, self._accept_if_possible
        self._thread = threading.Thread(target=self._run, name="pardata-service", daemon=True)
        self._stopping = False
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while not self._stopping:
            waits, self._is_full = self._is_full, False
            polled, timeout_s = self._connections, _POLL_S
            if waits:  # the listener stays readable: it is left out for a moment, else this would go round and round
                polled = {fd: each for fd, each in polled.items() if each is not self._server}
                timeout_s = _FULL_S
            self._wasyncore.loop(timeout=timeout_s, use_poll=True, map=polled, count=1)

    def _accept_if_possible(self) -> Any:
        """Accept a connection; where this process may open no more descriptors, let its client wait."""
        try:
            return self._accept()
        except OSError as error:
            if not lacks_descriptors(error):
                raise
            self._is_full = True
            return None

    def lookup(self, **options: Any) -> Service:
        """Return a client of this service, with its address and token.

        Parameters
        ----------
        **options
            The keyword arguments of `Service`: cache, max_age_s, retry_s, timeout_s.

        Returns
        -------
        Service

        Raises
        ------
        ConfigError
            An option is no number of at least 0.

        Examples
        --------
        >>> with pardata.serve(pardata.Table({"a": 1})) as server, server.lookup(max_age_s=0) as client:
        ...     client["a"]
        1
        """
        return Service(self.address, self.token, **options)

    def close(self) -> None:
        """End the service: requests in progress are answered, then all connections are closed.

        The end of the program does the same. In a forked child it does nothing: the service belongs to the parent.
        """
        if self._stopping or os.getpid() != self._pid:
            return
        self._stopping = True
        atexit.unregister(self.close)
        self._server.pull_trigger()
        if self._thread.ident is not None:
            join(self._thread)
        self._server.task_dispatcher.shutdown()
        for thread in list(self._answering):  # it still holds its last answer
            thread.join(_END_S)
        self._wasyncore.close_all(self._connections)  # at last, since the trigger is one of them
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            if socket_identity(self.address) == self._socket:  # else another server has that path by now
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.address.removeprefix("unix:"))
            self._lock.release()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server at {self.address}{', closed' if self._stopping else ''}>"


def _new_path() -> str:
    try:
        return session.tree().new_socket_path()
    except (OSError, CapacityError) as error:
        error.add_note("a service can do without: give serve() an address, 'unix:<path>' or '127.0.0.1:0'")
        raise


def _most_open() -> int:
    """Return the number of listeners and connections that waitress may have: half of the descriptors that are free."""
    return min(_MOST_CONNECTIONS, 2 + max(1, free_descriptors() // 2))


def serve(lookup: Lookup, address: str | None = None, *, token: str | None = None, threads: int = 4) -> Server:
    """Serve a look-up to other programs on this machine, until the ``with`` block ends.

    Parameters
    ----------
    lookup : Table, Database or Service
    address : str, optional
        ``"unix:<path>"`` or ``"127.0.0.1:<port>"`` (port 0: any free one). Default: a Unix socket that only this user
        can reach; a free port on a system without Unix sockets.
    token : str, optional
        Default: a new random one, in the attribute ``token`` of the server.
    threads : int
        Number of threads that answer requests, at least 1.

    Returns
    -------
    Server
        It answers requests already.

    Raises
    ------
    ConfigError
        An argument is wrong, or the address is taken.
    CapacityError
        This process may not open so many descriptors (``ulimit -n``).
    MissingExtraError
        Werkzeug or waitress is not installed.

    Examples
    --------
    >>> with pardata.serve(pardata.Table([1, 2], ["one", "two"])) as server, server.lookup() as client:
    ...     client[2]
    'two'
    """
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be an int of at least 1, not {threads!r}")
    return Server(lookup, address, token, threads)
