"""The WSGI application that answers look-ups over HTTP; any WSGI server can run it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from pardata.errors import ClosedError, ConfigError, MissingExtraError
from pardata.lookup import wire
from pardata.lookup.base import Lookup, array_of, as_keys
from pardata.lookup.wire import MISSING_KEY
from pardata.process.capacity import loading

try:
    with loading("a look-up service"):
        from werkzeug.exceptions import BadRequest, HTTPException, NotFound, ServiceUnavailable, Unauthorized
        from werkzeug.wrappers import Request, Response
except ImportError as error_:
    raise MissingExtraError('a look-up service needs more packages: pip install "pardata[http]"') from error_

MOST_BODY_BYTES: Final = 16 << 20
_TRIES: Final = 5  # for an answer out of a single version, while the contents change


class LookupApp:
    """A WSGI application that answers look-ups.

    Parameters
    ----------
    lookup : Table, Database or Service
    token : str, optional
        A client must send ``Authorization: Bearer <token>``. Default: no token is needed.

    Notes
    -----
    ========================  =========================================================================================
    ``GET /health``           ``{"status": "ok"}``; needs no token
    ``GET /about``            version, number of keys, names of the columns
    ``GET /item?key=``        the value of a key (JSON); 404 if it is missing
    ``POST /many``            for each key whether it is there, and the columns of those found; the body is
                              ``{"keys": [...]}`` or .npy
    ``GET /range?low=&high=`` keys and columns, in order of the keys
    ``GET /keys``             all keys
    ========================  =========================================================================================

    Columns are sent as .npy, one array after the other, if the client accepts ``application/x-npy`` and no column holds
    objects, else as JSON. Every answer has an ETag that changes with the contents. A wrong request gets a 4xx.

    Examples
    --------
    >>> from pardata.lookup.service import LookupApp
    >>> app = LookupApp(pardata.Table({"a": 1}), token="secret")  # to be run by a WSGI server
    """

    def __init__(self, lookup: Lookup, token: str | None = None) -> None:
        if not isinstance(lookup, Lookup):
            way = ": pardata.Table(...) makes one of it" if isinstance(lookup, dict) else ""
            raise ConfigError(f"a service needs a Table, a Database or a Service, not {type(lookup).__name__}{way}")
        self._lookup = lookup
        self._token = token
        self._routes: dict[tuple[str, str], Callable[[Request], tuple[bytes, str]]] = {
            ("GET", "/about"): self._about,
            ("GET", "/item"): self._item,
            ("POST", "/many"): self._many,
            ("GET", "/range"): self._range,
            ("GET", "/keys"): self._keys,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MOST_BODY_BYTES
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = _json({"error": error.description}, error.code or 500)
        except ClosedError as error:
            response = _json({"error": str(error)}, 410)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if (request.method, request.path) == ("GET", "/health"):
            return _json({"status": "ok"})
        if self._token is not None:
            shown = request.headers.get("Authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
                raise Unauthorized("the token is missing or wrong")
        route = self._routes.get((request.method, request.path))
        if route is None:
            raise NotFound(f"there is no {request.method} {request.path}")
        for _ in range(_TRIES):
            version = self._lookup.version
            if request.method == "GET" and version in request.if_none_match:
                response = Response(status=304)
            else:
                response = _reply(route, request)
            if self._lookup.version == version:
                response.set_etag(version)
                return response
        raise ServiceUnavailable("the contents change all the time")

    def _about(self, request: Request) -> tuple[bytes, str]:
        lookup = self._lookup
        about = {"version": lookup.version, "keys": len(lookup), "columns": lookup.columns}
        return json.dumps(about).encode(), wire.JSON

    def _item(self, request: Request) -> tuple[bytes, str]:
        if "key" not in request.args:
            raise BadRequest("/item needs ?key=")
        try:
            value = self._lookup[_key(request.args["key"])]
        except KeyError as error:
            raise _MissingKey from error
        return json.dumps({"value": wire.to_json(value)}).encode(), wire.JSON

    def _many(self, request: Request) -> tuple[bytes, str]:
        data = request.get_data()  # werkzeug keeps it for another try
        keys: Any
        if request.mimetype == wire.NPY:
            try:
                (keys,) = wire.from_npy(data)
            except ValueError as error:
                raise BadRequest(f"the body must be one .npy: {error}") from error
        else:
            said = _parsed(data, raw=True)
            keys = _from_json(said.get("keys")) if isinstance(said, dict) else None
            if not isinstance(keys, list):
                raise BadRequest('the body must be {"keys": [...]}')
        return wire.pack(*self._lookup._find(as_keys(keys)), _wants_npy(request))

    def _range(self, request: Request) -> tuple[bytes, str]:
        low, high = (_key(request.args[name]) if name in request.args else None for name in ("low", "high"))
        keys, values = self._lookup.range(low, high)
        return wire.pack(keys, values if isinstance(values, dict) else {None: values}, _wants_npy(request))

    def _keys(self, request: Request) -> tuple[bytes, str]:
        return wire.pack(array_of(list(self._lookup)), {}, _wants_npy(request))


class _MissingKey(Exception):
    """A key is missing. No KeyError: one that is raised by a fault of the look-up must not pass for it."""


def _reply(route: Callable[[Request], tuple[bytes, str]], request: Request) -> Response:
    try:
        body, kind = route(request)
        return Response(body, content_type=kind)
    except _MissingKey:
        return _json({"error": MISSING_KEY}, 404)
    # A value that cannot be sent, a range of keys without an order, a number or text that the look-up cannot hold.
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(str(error)) from error


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type=wire.JSON)


def _wants_npy(request: Request) -> bool:
    return wire.NPY in request.accept_mimetypes.values()


def _key(text: str) -> Any:
    """Return the key that a JSON text holds; raise BadRequest if it holds something else."""
    said = _parsed(text)
    if isinstance(said, list | dict | np.ndarray):
        raise BadRequest(f"a {type(said).__name__} is no key")
    return said


def _parsed(text: str | bytes, raw: bool = False) -> Any:
    """Return the value of a JSON text, not decoded if `raw`; raise BadRequest for another text."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"this is no JSON: {error}") from error
    return said if raw else _from_json(said)


def _from_json(said: Any) -> Any:
    try:
        return wire.from_json(said)
    except (ValueError, RecursionError) as error:
        raise BadRequest(str(error)) from error
