"""A stage as the user wrote it, checked as far as it can be by itself. Pure."""

from __future__ import annotations

import abc
import enum
import functools
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pardata.errors import ConfigError
from pardata.modules.function_name import function_name
from pardata.pipeline.builtin_generators import ListOf
from pardata.pipeline.plan.error_policy import ErrorPolicy
from pardata.pipeline.plan.numbers import is_count
from pardata.pipeline.plan.ordering import Policy


class Kind(enum.Enum):
    """The operation of a node."""

    SOURCE = "source"
    MAP = "map"
    FILTER = "filter"
    SINK = "sink"
    PARTITION = "partition"
    SCATTER = "scatter"
    GENERATOR = "generator"  # takes the iterator of all items, and numbers its own anew
    ZIP = "zip"
    MERGE = "merge"
    BRANCH = "branch"  # not a stage: one of several outputs of its input


WorkerCount = int | Literal["auto"]
AUTO: Final = "auto"
Workplace = Literal["", "thread", "home", "home thread"]
ArrayUse = Literal["", "inplace", "copies", "native"]
JOINS = (Kind.ZIP, Kind.MERGE)
MOST_CONCURRENT: Final = 1024
WITH_FUNCTION = (Kind.MAP, Kind.FILTER, Kind.SINK, Kind.PARTITION, Kind.GENERATOR)


class Counted(abc.ABC):
    """Items of a source whose number is known before they are read."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    def __bool__(self) -> bool:
        return True  # also without items


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """A stage as the user wrote it. Immutable; the inputs are nodes, so a cycle cannot be written down.

    Attributes
    ----------
    on_error : ErrorPolicy
        The treatment of items that fail.
    arrays : str
        It changes those of its items: in their memory, or in copies that each call gets. A source converts its own to
        the machine's byte order.
    workplace : str
        "thread": its workers are threads of the process that runs the plan. "home": it runs on the caller's machine,
        also where others of its kind run on the nodes of a cluster. "home thread": both.
    policy : str
        The way in which several inputs become one (see `pipeline.plan.ordering`).
    branches, branch : int
        The number of its outputs; of a `Kind.BRANCH`: the index of the output that it stands for.
    workers : int or "auto"
        "auto": the run finds out how many.
    concurrency : int
        Of a coroutine function: how many calls are at work at a time in each worker; 0: of another function.
    """

    kind: Kind
    name: str
    fn: Any = None
    inputs: tuple[Node, ...] = ()
    workers: WorkerCount = 1
    ordered: bool = True
    arrays: ArrayUse = ""
    chunksize: int | None = None
    on_error: ErrorPolicy = field(default_factory=ErrorPolicy)
    workplace: Workplace = ""
    policy: Policy = "arrival"
    branches: int = 1
    branch: int = 0
    concurrency: int = 0
    where: str = ""

    @property
    def is_auto(self) -> bool:
        """Whether the run finds out how many workers it needs."""
        return isinstance(self.workers, str) and self.workers == AUTO

    @property
    def thread(self) -> bool:
        """Whether its workers are threads."""
        return "thread" in self.workplace

    @property
    def at_home(self) -> bool:
        """Whether it never runs on another machine."""
        return "home" in self.workplace

    @property
    def may_be_thread(self) -> bool:
        """Whether the user may say kind="thread" of it."""
        return self.kind in (Kind.MAP, Kind.FILTER, Kind.SINK) and not isinstance(self.fn, ListOf)

    @property
    def inplace(self) -> bool:
        """Whether it changes its items in their memory."""
        return self.arrays == "inplace"

    @property
    def writable(self) -> bool:
        """Whether each of its calls gets copies to change."""
        return self.arrays == "copies"

    @property
    def native(self) -> bool:
        """Whether it converts arrays to the machine's byte order."""
        return self.arrays == "native"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ConfigError(f"the name of a stage must be a str, not {self.name!r}")
        self._check_workers()
        problem = self.on_error.problem()
        self._need(problem is None, problem or "")
        if self.kind in WITH_FUNCTION:
            self._check_function()
        self._need(
            not (self.inplace and self.on_error.tries_again),
            "inplace=True with retries= or timeout_s=: what was changed half-way cannot be tried again; with "
            "writable=True each try gets a copy",
        )
        self._need(
            not (self.thread and self.on_error.timeout_s is not None and not self.concurrency),
            'timeout_s= needs kind="process": a thread cannot be ended',
        )

    def _check_workers(self) -> None:
        """Check how many workers it has, and what each is given and does at a time."""
        self._need(
            is_count(self.workers, 1) or self.is_auto,
            f'workers must be an int of at least 1, not {self.workers!r} (or "auto")',
        )
        self._need(
            not (self.is_auto and self.thread),
            'workers="auto" shares the cores among processes: with kind="thread" say how many threads',
        )
        self._need(
            not (self.is_auto and self.concurrency),
            'workers="auto" is for functions that are called; a coroutine function awaits concurrency= calls at a time '
            "in each worker: say how many workers",
        )
        size = self.chunksize
        self._need(
            size is None or is_count(size, 1),
            f'chunksize must be "auto" or an int of at least 1 (items per message), not {size!r}',
        )
        self._need(
            is_count(self.concurrency, 0) and self.concurrency <= MOST_CONCURRENT,
            f"concurrency must be an int of at least 1 and at most {MOST_CONCURRENT}, not {self.concurrency!r}",
        )
        self._need(
            not (self.inplace and self.concurrency),
            "inplace=True: a coroutine function cannot change its items in place, since others are at work meanwhile",
        )

    def _check_function(self) -> None:
        """Check that the function can be called as the workers do."""
        self._need(callable(self.fn), no_function(self.fn))
        self._need(
            takes(self.fn, 1),
            "it is called with one argument, which its function does not take"
            + ("" if self.kind is Kind.GENERATOR else " (an item of a zip is a tuple: starmap unpacks it)"),
        )
        self._need(
            not has_calls(self.fn) or takes(self.fn, 0),
            f"each worker calls the class without arguments, which it does not take: give an object, "
            f"{name_of(self.fn)}(...)",
        )

    @property
    def lanes(self) -> int:
        """The number of messages that are at work in each of its workers."""
        return max(1, self.concurrency)

    def __repr__(self) -> str:
        return f"<Node {self.kind.value} {self.name!r} of {len(self.inputs)}>"  # its inputs may be many

    def _need(self, is_right: bool, what: str) -> None:
        if not is_right:
            raise ConfigError(f"stage {self.name!r} ({self.where}): {what}")


def inputs_first(last: Node) -> list[Node]:
    """Return a node and all that it reads, each behind its inputs; by a list in place of calls within calls."""
    found: dict[Node, None] = {}
    waiting = [last]
    while waiting:
        node = waiting[-1]
        missing = next((given for given in node.inputs if given not in found), None)
        if missing is None:
            found[waiting.pop()] = None
        else:
            waiting.append(missing)
    return list(found)


def reachable(lasts: Iterable[Node]) -> Iterable[Node]:
    """Return some nodes and all that they read, each once."""
    seen: dict[Node, None] = {}
    waiting = list(lasts)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += node.inputs
    return seen


def no_function(fn: Any) -> str:
    """Return the text for an argument that is no function: often it is what a call of one has returned."""
    return f"a function is needed, not {type(fn).__name__}: give the function itself, and not what a call returns"


def has_calls(fn: Any) -> bool:
    """Return whether a stage is given as a class whose objects can be called; those of `type` are classes."""
    is_class = isinstance(fn, type) and not issubclass(fn, type)
    return is_class and any("__call__" in kind.__dict__ for kind in fn.__mro__)


def takes(fn: Any, count: int) -> bool:
    """Return whether a function can be called with `count` arguments, as far as can be told."""
    if not (inspect.isroutine(fn) or isinstance(fn, functools.partial) or (has_calls(fn) and not count)):
        return True
    try:
        inspect.signature(fn).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        pass  # of some functions written in C
    return True


def is_coroutine_function(fn: Any) -> bool:
    """Return whether calling `fn` makes a coroutine: an ``async def``, or an object or a class with such a call."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    call = getattr(fn if isinstance(fn, type) else type(fn), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call)


def name_of(fn: Any) -> str:
    """Return the name of a stage with this function."""
    name = function_name(fn)
    return "lambda" if name == "<lambda>" else name


def user_line() -> str:
    """Return "file:line" of the caller outside of this package."""
    package = __name__.split(".", 1)[0]
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".", 1)[0] == package:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def with_branches(node: Node) -> Node:
    """Return the node that becomes a stage: for a branch, the one that has branches."""
    while node.kind is Kind.BRANCH:
        node = node.inputs[0]
    return node
