"""The client of a look-up that another process serves over HTTP.

look-up -> is its value kept, and fresh?  yes: decode it
           no: request -> answer and its version -> is the version new?  yes: forget all kept values
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from pardata.errors import BrokenError, ConfigError, DeadlineExceeded
from pardata.lookup import wire
from pardata.lookup.base import Array, Columns, Lookup, as_keys, joined, plain, unwrapped
from pardata.lookup.columns import ArrayColumn
from pardata.lookup.known import KnownContents
from pardata.lookup.requests import bodies_of, query_of
from pardata.lookup.transport import ServiceAnswer, Transport

_T = TypeVar("_T")


class Service(Lookup):
    """A look-up that another process serves.

    Parameters
    ----------
    address : str
        ``unix:<path>``, or ``http://<host>:<port>``.
    token : str, optional
        The token of the server.
    cache : int
        Number of keys whose values are kept here, the most recently used ones; forgotten when the contents change.
    max_age_s : float
        Seconds after an answer for which the contents are taken to be unchanged: a kept value may be that old. 0: ask
        the service at every look-up.
    retry_s : float
        Seconds for which a request is repeated if the service does not answer: it may be restarting.
    timeout_s : float
        Seconds to wait for an answer. A look-up of several requests starts again if the contents change meanwhile, for
        as many seconds.

    Raises
    ------
    ConfigError
        The address has another form, or a number is negative. Each look-up: the service refuses the token or the key.
    BrokenError
        Each look-up: the service does not answer, or answers with something else than a look-up does.
    DeadlineExceeded
        Each look-up: it takes longer than `timeout_s`.

    Notes
    -----
    Each thread keeps a connection of its own; a process opens its own at its first look-up and after a fork.

    Examples
    --------
    >>> with pardata.serve(pardata.Table({"Sirius": -1.46}), "unix:stars.sock") as server:
    ...     pardata.Service("unix:stars.sock", server.token)["Sirius"]
    -1.46
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        cache: int = 10_000,
        max_age_s: float = 1.0,
        retry_s: float = 10.0,
        timeout_s: float = 60.0,
    ) -> None:
        self.address = address
        self._token = token
        self._options = {"cache": cache, "max_age_s": max_age_s, "retry_s": retry_s, "timeout_s": timeout_s}
        for name, value in self._options.items():
            if not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"{name} must be a number of at least 0, not {value!r}")
        self._headers = {"Accept": f"{wire.NPY}, {wire.JSON}"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._most, self._max_age_s = cache, max_age_s
        self._transport = Transport(address, retry_s, timeout_s)
        self._forget()

    def _forget(self) -> None:
        self._contents = KnownContents()
        self._asked_at = -self._max_age_s

    # -- look-ups --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        key = plain(key)
        kept = (type(key), key)  # the look-up that is served may answer 1, 1.0 and True differently
        if self._most and self._is_fresh():
            values = self._contents.values
            try:
                value = wire.from_json(values[kept])
                values.move_to_end(kept)
                return value
            except (KeyError, TypeError):  # TypeError: not hashable
                pass
        answer, contents = self._ask("GET", "/item", {"key": key})
        if answer.status == 404:
            raise KeyError(key)
        value = self._json(answer)["value"]
        if self._most:
            contents.keep(kept, value, self._most)
        return wire.from_json(value)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __len__(self) -> int:
        count: int = self._describe()["keys"]
        return count

    def __iter__(self) -> Iterator[Any]:
        keys, _ = self._columns(self._ask("GET", "/keys")[0], [])
        return iter(keys.tolist())

    def _entries(self) -> Iterator[tuple[Any, Any]]:
        def ask() -> tuple[Array, Columns] | None:
            answer, contents = self._ask("GET", "/keys")
            keys = self._columns(answer, [])[0]
            version, _, columns = self._find_all(as_keys(keys))
            return (keys, columns) if version == contents.version else None  # keys and values belong together

        keys, columns = self._until_of_one_version(ask)
        values = [ArrayColumn(column).get for column in columns.values()]
        for row, key in enumerate(keys.tolist()):
            yield key, unwrapped({name: get(row) for name, get in zip(columns, values, strict=True)})

    def range(self, low: Any = None, high: Any = None) -> tuple[Array, Any]:
        bounds = {"low": low, "high": high}
        asked = {name: plain(bound) for name, bound in bounds.items() if bound is not None}

        def ask() -> tuple[Array, Columns] | None:
            about = self._known()
            try:
                answer, contents = self._ask("GET", "/range", asked)
            except KeyError as error:
                raise ConfigError(f"no range of keys begins or ends at {error.args[0]!r}") from error
            if contents.version != about["version"]:  # the columns of that version may have other names
                return None
            return self._columns(answer, about["columns"])

        keys, columns = self._until_of_one_version(ask)
        return keys, unwrapped(columns)

    def _find(self, keys: Any) -> tuple[Array, Columns]:
        _, found, columns = self._find_all(keys)
        return found, columns

    def _find_all(self, keys: Any) -> tuple[str, Array, Columns]:
        """Return a version of the contents, and the result of `_find` in that version."""

        def ask() -> tuple[dict[str, Any], list[tuple[Array, Columns]]] | None:
            about = self._known()
            parts = []
            for body in bodies_of(keys):
                answer, contents = self._ask("POST", "/many", body=body)
                if contents.version != about["version"]:
                    return None
                parts.append(self._columns(answer, about["columns"]))
            return about, parts

        about, parts = self._until_of_one_version(ask)
        found = np.concatenate([first for first, _ in parts])
        columns = {name: joined([columns[name] for _, columns in parts]) for name in about["columns"]}
        return about["version"], found, columns

    def _until_of_one_version(self, ask: Callable[[], _T | None]) -> _T:
        """Call `ask` until it returns something; it returns None if its answers are of different versions."""
        timeout_s = self._options["timeout_s"]
        end = time.monotonic() + timeout_s
        while (got := ask()) is None:
            if time.monotonic() >= end:
                raise DeadlineExceeded(
                    f"the contents of {self.address} change all the time: for {timeout_s:g} s no version has stayed "
                    "for as long as this look-up takes"
                )
        return got

    # -- the version and description of the contents ----------------------------------------------------------------

    def _is_fresh(self) -> bool:
        """Return whether kept values may be used; if the last answer is too old, ask the service for its version."""
        if not self._contents.version:
            return False
        if time.monotonic() - self._asked_at >= self._max_age_s:
            self._describe()
        return True

    def _describe(self) -> dict[str, Any]:
        """Ask the service for the description of its contents."""
        known = self._contents
        answer, contents = self._ask("GET", "/about", version=known.version if known.about else "")
        if answer.status == 304:
            return known.about
        contents.about = self._json(answer)
        return contents.about

    def _known(self) -> dict[str, Any]:
        """Return the last description of the contents; its names of columns belong to its version."""
        return self._contents.about or self._describe()

    @property
    def columns(self) -> list[str | None]:
        return list(self._known()["columns"])

    @property
    def version(self) -> str:
        version: str = self._describe()["version"]
        return version

    # -- requests --------------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: tuple[bytes, str] | None = None,
        version: str = "",
    ) -> tuple[ServiceAnswer, KnownContents]:
        """Send a request, again if the service went away; return the answer, and the known contents of its version."""
        headers = dict(self._headers)
        if query:
            path += "?" + query_of(query)
        if body is not None:
            headers["Content-Type"] = body[1]
        if version:
            headers["If-None-Match"] = f'"{version}"'
        asked_at = time.monotonic()
        answer = self._transport.send(method, path, None if body is None else body[0], headers)
        if answer.status == 401:
            raise ConfigError(f"{self.address} has refused the token")
        is_missing_key = answer.status == 404 and self._json(answer).get("error") == wire.MISSING_KEY
        if answer.status not in (200, 304) and not is_missing_key:
            said = answer.body[:500].decode(errors="replace")
            kind = ConfigError if answer.status in (400, 413) else BrokenError
            raise kind(f"{self.address} has answered {path.partition('?')[0]} with {answer.status}: {said}")
        contents = self._contents
        if answer.version != contents.version:
            self._contents = contents = KnownContents(answer.version)
        self._asked_at = asked_at
        return answer, contents

    def _json(self, answer: ServiceAnswer) -> dict[str, Any]:
        try:
            said = json.loads(answer.body)
            if isinstance(said, dict):
                return said
            raise ValueError(f"a {type(said).__name__}")
        except ValueError as error:
            raise BrokenError(f"{self.address} has answered {answer.status} and no JSON object: {error}") from error

    def _columns(self, answer: ServiceAnswer, names: list[str | None]) -> tuple[Array, Columns]:
        try:
            return wire.unpack(answer.body, answer.kind, names)
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenError(f"{self.address} has answered something that is no look-up: {error}") from error

    def close(self) -> None:
        self._transport.close()
        self._forget()

    def _compared(self) -> Any:
        """Return what a checkpoint compares it by: nothing, as a server has another address each time."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_pickle, (self.address, self._token, self._options)

    def __repr__(self) -> str:
        return f"<Service at {self.address}{', closed' if self._transport.is_closed else ''}>"


def _from_pickle(address: str, token: str | None, options: dict[str, Any]) -> Service:
    return Service(address, token, **options)
