"""The globals of the user's script in a worker: one set for all functions that come from there, as in the script.

cloudpickle gives every function that it takes by value globals of its own. What an initializer has stored with
``global`` would be seen by nobody. So in a worker these functions share one dictionary. A function that comes later
brings the values that its globals have in the main process; a name that code of the worker has bound anew keeps that.
"""

from __future__ import annotations

from typing import Any, Final

from cloudpickle import cloudpickle

SCRIPTS: Final = ("__main__", "__mp_main__")  # the second: in processes that multiprocessing has spawned

_globals: dict[str, Any] = {}
_delivered: dict[str, Any] = {}


def _make_function(code: Any, its_globals: dict[str, Any] | None, *rest: Any) -> Any:
    if its_globals is not None and its_globals.get("__name__") in SCRIPTS:
        for name, value in its_globals.items():
            _globals.setdefault(name, value)
        its_globals = _globals
    return cloudpickle._make_function(code, its_globals, *rest)


def _set_state(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    if getattr(function, "__globals__", None) is _globals:
        brought = state[1]["__globals__"]
        for name in [name for name in brought if name in _delivered and _globals.get(name) is not _delivered[name]]:
            del brought[name]
        _delivered.update(brought)
    cloudpickle._function_setstate(function, state)


REPLACED: Final = {"_make_function": _make_function, "_function_setstate": _set_state}
"""What stands in a worker for functions of `cloudpickle.cloudpickle`, by name."""
