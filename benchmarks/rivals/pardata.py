"""pardata, as its own pages show it."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import pardata
from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, FileWork, Flow, Link, Pool, same


def _source(flow: Flow, name: str | None = None) -> pardata.Stream:
    def items():  # type: ignore[no-untyped-def]
        yield from flow.items(pardata.empty)

    return pardata.source(items, name=name)


def _options(flow: Flow) -> dict[str, Any]:
    """For the first stage: `chunksize` counts from the source on."""
    return {"inplace": flow.inplace} | ({"chunksize": flow.chunk} if flow.chunk else {})


def chained(flow: Flow) -> pardata.Stream:
    """Return the stages of a flow in a row."""
    first, *others = flow.stages
    stream = _source(flow).map(first, **_options(flow))
    for fn in others:
        stream = stream.map(fn, inplace=flow.inplace)
    return stream


class Rival(rival.Rival):
    def chain(self, flow: Flow) -> Iterator[Any]:
        return iter(chained(flow))

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        return iter(_source(flow).map(flow.stages[0], workers=workers, **_options(flow)))

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        source = _source(flow)
        return iter(pardata.merge(*(source.map(fn) for fn in flow.stages)))

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        sources = [_source(flow, f"source {i}") for i, flow in enumerate(flows)]
        if flows[0].chunk:  # a source alone has no `chunksize`
            sources = [source.filter(len, chunksize=flows[0].chunk) for source in sources]
        return iter(pardata.merge(*sources))

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        source = _source(flow)
        left, right = (source.map(fn) for fn in flow.stages)
        return iter(pardata.zip(left, right).map(lambda pair: join(*pair)))

    def nodes(self, flow: Flow) -> Iterator[Any]:
        two_nodes = importlib.import_module(f"benchmarks.rivals.{flow.engine}_nodes").two_nodes
        with two_nodes(), chained(flow).iterate(engine=flow.engine) as run:
            yield from run

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with pardata.WorkerPool(1) as pool:
            yield lambda x: pool.submit(same, x).result()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with pardata.WorkerPool(workers) as pool:
            yield Pool(
                lambda fn, items, chunksize: list(pool.map(fn, items, chunksize=chunksize or "auto")),
                lambda fn, x: pool.submit(fn, x).result(),
            )

    @contextmanager
    def map_new_arrays(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Callable[[], Any]]]:
        with pardata.WorkerPool(workers) as pool:
            yield lambda: partial(pool.map_array, work.fn, work.filled(pardata.empty))

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        with self.map_new_arrays(work, workers) as new:
            yield new()

    @contextmanager
    def map_file(self, work: FileWork, workers: int) -> Iterator[Callable[[], None]]:
        with pardata.WorkerPool(workers) as pool:

            def call() -> None:
                if work.is_new:
                    work.remove_target()
                    with work.opened(work.source, "r") as images:
                        pool.map_array(work.fn, images, out=work.target, compression=work.compression)
                    return
                with work.opened(work.source, "r") as source, work.opened(work.target, "r+") as target:
                    pool.map_array(work.fn, source, out=target)

            yield call

    @contextmanager
    def map_windows(
        self, work: ArrayWork, array: Any, length: int, is_shared: bool, workers: int
    ) -> Iterator[Callable[[], Any]]:
        windows = sliding_window_view(pardata.array(array) if is_shared else array, length)
        with pardata.WorkerPool(workers) as pool:
            yield lambda: pool.map_array(work.fn, windows)

    @contextmanager
    def tasks(self, workers: int) -> Iterator[Callable[[Callable[..., Any], list[tuple[Any, ...]]], list[Any]]]:
        import joblib

        from benchmarks.rivals.joblib import run_tasks

        pardata.register_joblib()
        with joblib.parallel_config(backend="pardata", n_jobs=workers), joblib.Parallel() as parallel:
            yield partial(run_tasks, parallel)
        pardata.shutdown()

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        with pardata.WorkerPool(2) as pool:
            yield lambda fn, x: pool.submit(fn, x).result(timeout=30)

    def shared_memory(self) -> Any:
        return pardata.SharedMemory

    def shareable_list(self) -> Any:
        return pardata.ShareableList

    @contextmanager
    def put_array(self, values: Any) -> Iterator[Any]:
        made = pardata.empty(values.shape, values.dtype)
        made[:] = values
        yield made

    def lookup(
        self, place: str, keys: Any, values: Any, look: Callable[..., list[float]], *arguments: Any
    ) -> list[float]:
        with contextlib.ExitStack() as stack:
            lookup: Any
            if place == "database":
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                lookup = stack.enter_context(pardata.Database.create(f"{folder}/data.db", keys, values))
            else:
                lookup = stack.enter_context(pardata.Table(keys, values))
            if place == "service":
                lookup = stack.enter_context(stack.enter_context(pardata.serve(lookup)).lookup())
            pool = stack.enter_context(pardata.WorkerPool(1))
            found: list[float] = pool.submit(look, lookup, *arguments).result()
            return found

    @contextmanager
    def loader(self, dataset: Any, batch_size: int, workers: int) -> Iterator[Callable[[], Iterator[Any]]]:
        with pardata.torch.Loader(dataset, batch_size, workers=workers) as loader:
            yield lambda: iter(loader)

    @contextmanager
    def random_pages(self, array: Any, numbers: list[int]) -> Iterator[Callable[[], int]]:
        with _paged(array, array[0].nbytes) as file:
            yield lambda: len([None for number in numbers if len(file.page(number))])

    @contextmanager
    def all_pages(self, array: Any, whole: bool) -> Iterator[Callable[[], int]]:
        with _paged(array, 1 << 20) as file:

            def read() -> int:
                with pardata.PagedFile(file.path) as fresh:  # its pages are not yet known to be right
                    if whole:
                        return len(fresh[:])
                    return sum(len(fresh.page(number)) for number in range(fresh.page_count))

            yield read


@contextmanager
def _paged(array: Any, page_bytes: int) -> Iterator[pardata.PagedFile]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/file"
        with pardata.PagedFile.create(
            path, dtype=np.dtype(array.dtype), item_shape=array.shape[1:], page_bytes=page_bytes
        ) as writer:
            writer.extend(array)
        with pardata.PagedFile(path) as file:
            yield file
