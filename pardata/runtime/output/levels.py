"""The log levels of the main process, as its workers see them at each log call.

      setLevel, logging.disable -> STALE in shared memory -> workers send every record, until
      the console has one of them -> `tell_levels` writes the levels anew -> `Levels` in each worker reads them

A record that nobody wants in the main process is not even made in a worker, as in a program of one process, and the
levels are those of this moment. `logging` clears the caches of all loggers when any level changes. One of the loggers
is pardata's: to clear its cache is to store STALE. That must be one call of C code. `logging` holds its lock meanwhile,
on Python 3.11 without giving it back after an exception, and Ctrl-C may come between any two steps of Python code.
"""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from typing import Any, Final

from pardata.memory.segment import Segment
from pardata.memory.shared_heap import LEVELS_AT, LEVELS_BYTES, SharedHeap
from pardata.process.system import at_fork

# Words of the main process's span, and of no other writer. STALE is stored by each thread that changes a level; all
# else is stored by `tell_levels`, under `_lock`. VERSION is odd meanwhile. LENGTH: of the text, in bytes.
VERSION, STALE, LENGTH = 0, 1, 2
_TEXT_AT: Final = 24  # behind these words
_EVERYTHING: Final = [0, {"root": 1}]  # stands for levels that do not fit: the main process looks at each record anyway

_lock = threading.RLock()


class _Marks(dict[int, bool]):
    """Stands for the cache of a logger."""

    clear: Any

    def __init__(self, words: memoryview) -> None:
        # SYNC POINT: levels. Stored by the thread that has changed a level, before its `setLevel` returns.
        self.clear = partial(words.__setitem__, STALE, 1)


def tell_levels(heap: SharedHeap) -> None:
    """Write the levels of this process for its workers, and notice their next change. Not for the main thread."""
    logger: Any = logging.getLogger("pardata.levels")
    words = _words(heap.segment)
    with _lock:
        if not isinstance(logger._cache, _Marks):
            logger._cache = _Marks(words)
        # SYNC POINT: levels. Odd first, so that no worker takes the former levels for the present ones when it finds
        # STALE taken back; and STALE before the levels are looked at, so that a change meanwhile is found next time.
        words[VERSION] += 1
        words[STALE] = 0
        text = _present()
        words[LENGTH] = len(text)
        _bytes(heap.segment)[_TEXT_AT : _TEXT_AT + len(text)] = text
        words[VERSION] += 1


def tell_if_stale(heap: SharedHeap) -> None:
    """Write the levels if they have changed."""
    if _words(heap.segment)[STALE]:
        tell_levels(heap)


def _bytes(segment: Segment) -> memoryview:
    return memoryview(segment.map)[LEVELS_AT : LEVELS_AT + LEVELS_BYTES]


def _words(segment: Segment) -> memoryview:
    return _bytes(segment)[:_TEXT_AT].cast("q")


def _present() -> bytes:
    """Return what `logging.disable` was told and the levels that were set, by logger.

    That of the root is left out if nobody has configured it: a worker may have a `logging.basicConfig` of its own.
    """
    root = logging.getLogger()
    loggers = dict(root.manager.loggerDict)
    levels = {name: each.level for name, each in loggers.items() if isinstance(each, logging.Logger) and each.level}
    if root.handlers or root.level != logging.WARNING:
        levels["root"] = root.level or 1
    text = json.dumps([root.manager.disable, levels]).encode()
    return text if len(text) <= LEVELS_BYTES - _TEXT_AT else json.dumps(_EVERYTHING).encode()


def _forget() -> None:
    """In a forked child: the words are its parent's."""
    global _lock
    _lock = threading.RLock()
    logger: Any = logging.root.manager.loggerDict.get("pardata.levels")
    if logger is not None:
        logger._cache = {}


at_fork(after_in_child=_forget)


class Levels:
    """In a worker: the levels of the main process, which go before those that were set here."""

    def __init__(self, segment: Segment) -> None:
        self._bytes = _bytes(segment)
        self._words = _words(segment)
        self._seen = -1
        self._set: dict[str, int] = {}
        self._is_enabled: Any = logging.Logger.isEnabledFor

    def install(self) -> None:
        """Have every logger of this process go by them."""
        words = self._words

        def is_enabled_for(logger: logging.Logger, level: int) -> bool:
            # SYNC POINT: levels. STALE is looked at first: then the version tells whether it was taken back before.
            is_stale = words[STALE]
            if words[VERSION] != self._seen and not self._update():
                is_stale = True
            return bool(self._is_enabled(logger, level) or (is_stale and not logger.disabled))

        def effective_level(logger: logging.Logger) -> int:
            if words[VERSION] != self._seen:
                self._update()
            here, name = logger.manager.loggerDict, logger.name
            while name:  # not from parent to parent: those that the main process has made need not be here
                level = self._set.get(name) or getattr(here.get(name), "level", 0)
                if level:
                    return level
                name = name.rpartition(".")[0]
            return self._set.get("root") or logging.getLogger().level

        of_loggers: Any = logging.Logger
        of_loggers.isEnabledFor = is_enabled_for
        of_loggers.getEffectiveLevel = effective_level

    @property
    def are_present(self) -> bool:
        """Return whether the levels that were read last are those of this moment."""
        words = self._words
        return not words[STALE] and words[VERSION] == self._seen

    def let_through(self, logger: logging.Logger, level: int) -> bool:
        """Return whether the levels that were read last let a record through."""
        return bool(self._is_enabled(logger, level))

    def _update(self) -> bool:
        """Read the levels; return whether they were whole."""
        words, manager = self._words, logging.getLogger().manager
        version, length = words[VERSION], words[LENGTH]
        text = bytes(self._bytes[_TEXT_AT : _TEXT_AT + length])
        if version & 1 or words[VERSION] != version:
            return False
        disabled, self._set = json.loads(text)
        manager.disable = disabled
        manager._clear_cache()  # type: ignore[attr-defined]
        self._seen = version
        return True
