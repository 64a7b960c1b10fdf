"""The methods of a stream that regroup, cut and count its items, and that make several items of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

from pardata.errors import ConfigError
from pardata.pipeline.builtin_generators import Batches, Enumerated, FlatMap, Flattened, ListOf, Slice, Windows
from pardata.pipeline.new_stage import array_use, checked_count, new_stage, plain_function
from pardata.pipeline.plan.error_policy import ErrorPolicy
from pardata.pipeline.plan.node import Kind, WorkerCount, name_of
from pardata.pipeline.runnable import Runnable


class Regrouping(Runnable):
    """A stream whose items can be put together otherwise; they are numbered anew."""

    def flat_map(
        self,
        fn: Callable[[Any], Iterable[Any]],
        *,
        workers: WorkerCount = 1,
        ordered: bool = True,
        writable: bool = False,
        errors: Literal["raise", "skip"] = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        name: str | None = None,
    ) -> Self:
        """Return the stream of the items of ``fn(item)``, any number for each; they are numbered anew. Else as `map`.

        One worker sends each item of `fn` as it comes. With several workers, `writable`, ``errors="skip"``, `retries`
        or `timeout_s` all items of a call are sent together, and a failed call leaves nothing behind.

        >>> import pardata
        >>> list(pardata.source([2, 3]).flat_map(range))
        [0, 1, 0, 1, 2]
        """
        if errors not in ("raise", "skip"):
            raise ConfigError(f'flat_map: errors must be "raise" or "skip", not {errors!r}')
        name = name or name_of(plain_function(fn))
        if workers == 1 and errors == "raise" and not (retries or writable) and timeout_s is None:
            given = new_stage(
                self._node, Kind.GENERATOR, FlatMap(fn), name, on_error=ErrorPolicy(max_errors=max_errors)
            )
            return type(self)(given)
        on_error = ErrorPolicy(errors, max_errors, retries, timeout_s)
        arrays = array_use(False, writable)
        options: dict[str, Any] = {"workers": workers, "ordered": ordered, "arrays": arrays, "on_error": on_error}
        return type(self)(new_stage(self._node, Kind.MAP, ListOf(fn), name, **options)).unbatch()

    def batch(self, n: int, *, drop_last: bool = False) -> Self:
        """Return the stream of lists of `n` items (at least 1); the last one may be shorter, unless `drop_last`.

        >>> import pardata
        >>> list(pardata.source([1, 2, 3]).batch(2))
        [[1, 2], [3]]
        """
        return self._regroup(f"batch({n})", Batches(checked_count("batch", "n", n), drop_last))

    def unbatch(self) -> Self:
        """Return the stream of the contents of the items: lists, arrays (row by row, along axis 0), or other iterables.

        >>> import pardata
        >>> list(pardata.source([[1, 2], [3]]).unbatch())
        [1, 2, 3]
        """
        return self._regroup("unbatch", Flattened())

    def window(self, size: int, step: int = 1) -> Self:
        """Return the stream of lists of `size` items in a row, a new one every `step` items; only whole ones.

        >>> import pardata
        >>> list(pardata.source([1, 2, 3, 4]).window(3))
        [[1, 2, 3], [2, 3, 4]]
        """
        made = Windows(checked_count("window", "size", size), checked_count("window", "step", step))
        return self._regroup(f"window({size}, {step})", made)

    def take(self, n: int) -> Self:
        """Return the stream of the first `n` items (at least 0), or of all if there are fewer.

        After them its sources stop, unless another branch reads them: what is on its way is dropped.

        >>> import itertools, pardata
        >>> list(pardata.source(itertools.count()).take(3))
        [0, 1, 2]
        """
        return self._regroup(f"take({n})", Slice(0, checked_count("take", "n", n, 0)))

    def skip(self, n: int) -> Self:
        """Return the stream without its first `n` items (at least 0).

        >>> import pardata
        >>> list(pardata.source([1, 2, 3]).skip(1))
        [2, 3]
        """
        return self._regroup(f"skip({n})", Slice(checked_count("skip", "n", n, 0), None))

    def enumerate(self, start: int = 0) -> Self:
        """Return the stream of tuples ``(start, item), (start + 1, item)`` and so on: the items that come are counted.

        >>> import pardata
        >>> list(pardata.source(["a", "b"]).enumerate(1))
        [(1, 'a'), (2, 'b')]
        """
        return self._regroup("enumerate", Enumerated(checked_count("enumerate", "start", start, None)))

    def _regroup(self, name: str, fn: Any) -> Self:
        """Add a stage as a thread of the calling process: it only passes references on, and no kill can lose them."""
        return type(self)(new_stage(self._node, Kind.GENERATOR, fn, name, workplace="thread"))
