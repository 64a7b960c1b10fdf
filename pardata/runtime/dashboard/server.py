"""Serves the page of a run or a pool on the loopback interface, from its begin to its end.

      accepting thread --a thread per connection--> DashboardApp -> LivePage <- report

A thread that sends to a browser that does not read waits by itself: nothing of the run waits for any of these threads
but its end, a moment, for the last page.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pardata.errors import ConfigError
from pardata.process.capacity import check_descriptors, explained, lacks_descriptors, loading
from pardata.process.interrupts import Uninterrupted, join, start_thread
from pardata.process.system import at_fork
from pardata.runtime.dashboard.live import LivePage

_MOST_CONNECTIONS: Final = 16
_DESCRIPTORS: Final = 4  # of a page that is open: the listener, the page, its events, and what wakes the listener
_REQUEST_S: Final = 10.0  # for a request to come, or a piece of the page to be taken
_FULL_S: Final = 0.1  # between tries to accept where this process may open no more descriptors
_LAST_S: Final = 0.5  # for open pages to take the last page
_HOST: Final = "127.0.0.1"
_NAME: Final = "pardata-dashboard"

_open: dict[int, Dashboard] = {}


class _PageHandler(WSGIRequestHandler):
    timeout = _REQUEST_S

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing of requests."""

    def get_stderr(self) -> Any:
        return io.StringIO()  # dropped: a browser has left. Errors of pages are shown on the page


class _PageServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.connections: dict[socket.socket, threading.Thread] = {}
        super().__init__((_HOST, 0), _PageHandler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # that of HTTPServer asks the network for the name of the host
        self.server_name, self.server_port = _HOST, self.server_address[1]
        self.setup_environ()

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError as error:
            if lacks_descriptors(error):  # the listener stays readable
                time.sleep(_FULL_S)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return len(self.connections) < _MOST_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, name=_NAME, daemon=True)
        self.connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        try:
            super().shutdown_request(request)
        finally:
            self.connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser has left, or took too long."""


class Dashboard:
    """A page that is served until it is closed; prints its address once.

    Parameters
    ----------
    draw : callable
        Returns a report as the body of a page.

    Attributes
    ----------
    address : str
        With the token.

    Raises
    ------
    MissingExtraError
        Werkzeug is not installed.
    ConfigError, CapacityError
        There is no loopback interface, or no descriptors for it.
    """

    def __init__(self, draw: Callable[[Any], str]) -> None:
        with loading("a dashboard"):
            from pardata.runtime.dashboard.app import DashboardApp

        check_descriptors("a dashboard", _DESCRIPTORS)
        token = secrets.token_urlsafe(24)
        self._live = LivePage(draw)
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._is_over = False
        try:
            self._server = _PageServer()
        except OSError as error:
            raise ConfigError(f"no dashboard can be opened at {_HOST}: {error}") from error
        self._server.set_app(DashboardApp(self._live, token))
        self.address = f"http://{_HOST}:{self._server.server_port}/{token}/"
        self._thread = threading.Thread(target=self._accept, name=_NAME, daemon=True)
        _open[id(self)] = self
        try:
            with explained("a dashboard"):
                start_thread(self._thread)
            if sys.stderr is not None:
                with contextlib.suppress(OSError, ValueError):  # it is closed, or its disk is full
                    print(f"dashboard: {self.address}", file=sys.stderr, flush=True)
        except BaseException:  # as Ctrl-C
            self.close()
            raise

    def _accept(self) -> None:
        while not self._is_over:
            self._server.handle_request()

    def follow(self, report: Callable[[], Any]) -> None:
        """Show what `report` returns, at each look."""
        self._live.report = report

    def close(self, report: Any = None) -> None:
        """Have open pages show the last report, and serve no more; a second call does nothing but wait for the first.

        Without a report it is that of this moment. In a forked child it does nothing: the dashboard is its parent's. A
        thread of a dashboard does not wait: a run may end in it, if it was dropped while its page was drawn.
        """
        if os.getpid() != self._pid:
            return
        if threading.current_thread().name == _NAME:
            threading.Thread(target=self.close, args=(report,), name="pardata-closer").start()
            return
        with Uninterrupted(), self._closing:
            if self._is_over:
                return
            self._live.end(report)
            self._is_over = True
            if self._thread.ident is not None:
                self._wake()
                join(self._thread)
            self._live.wait_for_readers(_LAST_S)
            for connection, thread in list(self._server.connections.items()):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join()
            self._server.server_close()
            self.follow(lambda: None)
            _open.pop(id(self), None)

    def _wake(self) -> None:
        """Have the accepting thread look."""
        try:
            self._server.socket.shutdown(socket.SHUT_RDWR)  # on Linux, without another descriptor
        except OSError:
            socket.create_connection((_HOST, self._server.server_port)).close()

    def forget(self) -> None:
        """Close the copies of the sockets in a forked child, which has no threads that would answer."""
        for sock in (self._server.socket, *self._server.connections):
            sock.close()

    def __repr__(self) -> str:
        return f"<Dashboard at {self.address}{', closed' if self._is_over else ''}>"


def _forget_all() -> None:
    while _open:
        _open.popitem()[1].forget()


at_fork(after_in_child=_forget_all)
