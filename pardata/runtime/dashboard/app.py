"""The WSGI application of a dashboard: a page and its events, for those who know the address with its token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from typing import Any, Final

from pardata.errors import MissingExtraError
from pardata.process.capacity import loading
from pardata.runtime.dashboard.live import LivePage

try:
    with loading("a dashboard"):
        from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
        from werkzeug.wrappers import Request, Response
except ImportError as error_:
    raise MissingExtraError('dashboard=True needs a package more: pip install "pardata[http]"') from error_

# A page of somebody else's may have the browser ask this port under a name of its own (DNS rebinding): that name is in
# the head of the request. The port is not compared, as it is another one at the near end of an SSH tunnel.
_HOSTS: Final = ["127.0.0.1", "localhost"]
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
}


class DashboardApp:
    """Answers ``GET /<token>/`` and ``GET /<token>/events``, and refuses all other requests."""

    def __init__(self, live: LivePage, token: str) -> None:
        self._live = live
        self._token = token.encode()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.trusted_hosts = _HOSTS
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = error.get_response(environ)
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        request.host  # noqa: B018 -- it raises where the name is another one
        if request.method != "GET":
            raise MethodNotAllowed(["GET"])
        token, _, rest = request.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise NotFound
        if rest == "events":
            return Response(self._live.events(), content_type="text/event-stream")
        if rest:
            raise NotFound
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'"
        text = self._live.document(nonce).encode("utf-8", "backslashreplace")
        return Response(text, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})
