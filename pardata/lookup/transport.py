"""Requests over HTTP to a service on this machine, repeated while the service restarts."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pardata.errors import BrokenError, ClosedError, ConfigError, DeadlineExceeded
from pardata.process.capacity import lacks_descriptors, refusal

# Between two tries, doubled each time: a service that is away or busy cannot tell when it is back.
_FIRST_RETRY_S: Final = 0.01
_LONGEST_RETRY_S: Final = 0.5


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ServiceAnswer(NamedTuple):
    """The answer of a service: HTTP status, content type, version of the contents (its ETag) and body."""

    status: int
    kind: str
    version: str
    body: bytes


class _KeptConnection:
    """The connection of one thread of one process; it is closed when the thread ends."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.pid = os.getpid()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over():
            self.connection.close()


class _ThreadSlot(threading.local):
    kept: _KeptConnection | None = None


class Transport:
    """The connections of a handle: one for each thread of each process; it stays open between requests.

    Parameters
    ----------
    address : str
        ``unix:<path>``, or ``http://<host>:<port>``.
    retry_s, timeout_s : float
        As for `Service`, in seconds.

    Raises
    ------
    ConfigError
        The address has another form.
    """

    def __init__(self, address: str, retry_s: float, timeout_s: float) -> None:
        if not address.startswith(("unix:", "http://")) or not _is_place(address):
            raise ConfigError(f"address must be unix:<path> or http://<host>:<port>, not {address!r}")
        self.address = address
        self.is_closed = False
        self._retry_s, self._timeout_s = retry_s, timeout_s
        self._local = _ThreadSlot()

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> ServiceAnswer:
        """Return the answer to a request.

        Raises
        ------
        BrokenError
            The service has not answered, tried for `retry_s`.
        CapacityError
            This process can open no connection: it has as many descriptors open as it may.
        DeadlineExceeded
            The answer takes longer than `timeout_s`.
        ClosedError
            After `close`.
        """
        end = time.monotonic() + self._retry_s
        pause = _FIRST_RETRY_S
        while True:
            connection, is_used = self._connect()
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                version = (response.headers.get("ETag") or "").strip('"')
                answer = ServiceAnswer(response.status, response.headers.get_content_type(), version, response.read())
                if answer.status != 503:
                    return answer
                is_used = False
                raise OSError(f"it is busy: {answer.body[:500].decode(errors='replace')}")
            except TimeoutError as error:
                self._disconnect()
                raise DeadlineExceeded(f"{self.address} has not answered for {self._timeout_s:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                self._disconnect()
                if isinstance(error, OSError) and lacks_descriptors(error):  # this process is at its limit
                    raise refusal(error.errno or errno.EMFILE, "a connection to a look-up service", 1) from error
                if time.monotonic() + pause > end:
                    said = str(error) or type(error).__name__
                    raise BrokenError(
                        f"{self.address} does not answer, tried for {self._retry_s:g} s: {said}"
                    ) from error
                if not is_used:  # the service may have closed an idle connection: try a new one at once
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST_RETRY_S)

    def _connect(self) -> tuple[http.client.HTTPConnection, bool]:
        """Return the connection of this thread, and whether it was used before."""
        if self.is_closed:
            raise ClosedError(f"the client of {self.address} was closed")
        kept = self._local.kept
        if kept is not None and kept.pid == os.getpid():
            return kept.connection, True
        if self.address.startswith("unix:"):
            made: http.client.HTTPConnection = _UnixConnection(self.address.removeprefix("unix:"), self._timeout_s)
        else:
            made = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=self._timeout_s)
        self._local.kept = _KeptConnection(made)
        return made, False

    def _disconnect(self) -> None:
        self._local.kept = None

    def close(self) -> None:
        """Close the connections of all threads of this process."""
        self.is_closed = True
        self._local = _ThreadSlot()


def _is_place(address: str) -> bool:
    """Return whether an address can be connected to: it has a path, or a host and a number for a port."""
    kind, _, place = address.partition(":")
    try:
        return bool(place) if kind == "unix" else bool(http.client.HTTPConnection(place.removeprefix("//")).host)
    except http.client.InvalidURL:
        return False
