"""The bars: the demands on pardata, issue by issue, and whether they are met. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Results
from benchmarks.rivals import EARLIER

Kind = Literal["faster than", "as long as", "at most", "at least", "alike", "of case", "more than case"]
UPWARDS, ABSOLUTE = ("faster than", "at least"), ("at most", "at least", "more than case")
Verdict = Literal["pass", "falls short", "not measured"]


@dataclass(frozen=True)
class Bar:
    """One bar.

    Parameters
    ----------
    issue : number of the issue that demands it
    case : the case with the figure of pardata that is judged
    kind : the comparison. "faster than": at least `limit` times as fast as the side `other`. "as long as": at most
        `limit` times the time (or memory) of it. "at most", "at least": `limit`, in the case's unit. "alike": the case
        and the cases in `other` (a comma between) differ by at most the factor `limit`. "of case": at most `limit`
        times as much as pardata in the case `other`. "more than case": at most `limit`, in the case's unit, more
    """

    issue: int
    case: str
    kind: Kind
    limit: float
    other: str = ""


@dataclass(frozen=True)
class Judgement:
    """A bar and the figure that was measured for it: a factor, or a value in the case's unit, as the bar's limit is."""

    bar: Bar
    measured: float | None
    verdict: Verdict

    @property
    def headroom(self) -> float | None:
        """The factor by which the figure is better than the limit; below 1 it falls short."""
        if not self.measured:
            return None
        ratio = self.measured / self.bar.limit
        return ratio if self.bar.kind in UPWARDS else 1 / ratio


def _loads() -> tuple[Bar, ...]:
    return tuple(Bar(4, f"loads_{letter}", "as long as", 1.05, "pardata, best fixed chunk") for letter in "ABCDEFGH")


BARS = (
    Bar(2, "chain_copy", "faster than", 10, "mp.Queue"),
    Bar(2, "chain_inplace", "faster than", 20, "mp.Queue"),
    Bar(2, "chain_nocopy_8MB", "faster than", 200, "mp.Queue"),
    Bar(2, "chain_nocopy_8MB", "alike", 1.5, "chain_nocopy_80KB,chain_nocopy_80MB"),
    Bar(2, "chain_small", "faster than", 5, "mp.Queue"),
    Bar(2, "map_array", "as long as", 1.15, "threads"),
    Bar(2, "map_array", "faster than", 3, "mp.Pool"),
    Bar(2, "start_up", "at most", 0.3),
    Bar(3, "block_free", "as long as", 1.0, "mp.shared_memory"),
    Bar(3, "block_fill", "faster than", 5, "mp.shared_memory"),
    Bar(3, "list_read", "faster than", 3, "mp.shared_memory"),
    Bar(3, "list_write", "faster than", 3, "mp.shared_memory"),
    Bar(3, "list_iterate", "faster than", 10, "mp.shared_memory"),
    Bar(3, "list_iterate_strings", "faster than", 10, "mp.shared_memory"),
    Bar(3, "list_iterate_mixed", "faster than", 10, "mp.shared_memory"),
    Bar(3, "recovery_named", "at most", 0.1),
    Bar(4, "map_array", "as long as", 1.05, "threads"),
    Bar(4, "map_array", "faster than", 4, "mp.Pool"),
    Bar(4, "map_array", "faster than", 4, "joblib"),
    Bar(4, "map_array", "faster than", 5, "mpire"),
    Bar(4, "map_array", "faster than", 2, "ray tasks"),
    Bar(4, "task_array", "at most", 0.2e-6),
    Bar(4, "task_auto", "at most", 0.5e-6),
    Bar(4, "task_chunk_1", "at most", 25e-6),
    Bar(4, "task_submit", "at most", 80e-6),
    *_loads(),
    Bar(4, "simulated_16", "at least", 97),
    Bar(4, "memory_map_array", "at most", 2200),
    Bar(5, "lookup_table_one", "at most", 2e-6),
    Bar(5, "lookup_table_many", "at most", 0.4e-6),
    Bar(5, "lookup_database_one", "at most", 5e-6),
    Bar(5, "lookup_database_many", "at most", 2e-6),
    Bar(5, "lookup_service_one", "at most", 800e-6),
    Bar(5, "lookup_service_many", "at most", 5e-6),
    Bar(5, "lookup_table_memory", "at most", 5),
    Bar(5, "lookup_table_one", "faster than", 30, "mp.Manager"),
    Bar(5, "paged_random", "as long as", 1.3, "serial"),
    Bar(5, "paged_sequential", "faster than", 0.8, "serial"),
    Bar(7, "recovery_noticed", "at most", 0.010),
    Bar(7, "recovery_running", "at most", 0.100),
    Bar(7, "hop_single", "at most", 25e-6),
    Bar(7, "hop_batched", "at most", 5e-6),
    Bar(7, "farm_slow_item", "as long as", 1.1, "limit"),
    Bar(7, "memory_long_run", "at most", 8),  # flat: not even a pointer for each of a million items is kept
    Bar(7, "gather", "of case", 1.5, "gather_one"),
    Bar(14, "memory_farm_64", "at most", 30),
    Bar(14, "memory_farm_128", "at most", 60),
    Bar(15, "stage_masked", "of case", 1.2, "stage_array"),
    Bar(15, "stage_matrix", "of case", 1.2, "stage_array"),
    Bar(15, "stage_recarray", "of case", 1.2, "stage_array"),
    Bar(15, "stage_memmap", "of case", 1.2, "stage_array"),
    Bar(15, "windows", "of case", 1.3, "windows_shared"),
    Bar(15, "memory_windows", "more than case", 10, "memory_windows_shared"),
    Bar(15, "memmap_tasks", "as long as", 1.5, "joblib"),
    Bar(17, "chain_copy", "faster than", 1.5, EARLIER),
    Bar(17, "chain_copy", "faster than", 16, "mp.Queue"),
    Bar(17, "chain_copy_80MB", "faster than", 1.5, EARLIER),
    Bar(17, "chain_copy_80MB", "faster than", 1.0, "mp.shared_memory"),
    Bar(17, "farm", "faster than", 1.25, EARLIER),
    Bar(17, "farm", "faster than", 1.0, "threads"),
    Bar(17, "diamond", "faster than", 1.2, EARLIER),
    *(Bar(17, f"chain_{how}_80KB", "faster than", 4, "mp.Queue") for how in ("copy", "inplace", "nocopy")),
    Bar(17, "chain_small", "faster than", 8, "mp.Queue"),
    Bar(17, "hop_single", "faster than", 1.0, "mp.Queue"),
    Bar(17, "gather", "faster than", 1.0, "mp.Queue"),
    Bar(17, "ping_pong", "as long as", 1.15, "mp.Pipe"),
    Bar(17, "ping_pong_p99", "as long as", 2, "mp.Pipe"),
    Bar(17, "map_array_first", "as long as", 1.05, "threads"),
    Bar(17, "map_array_closure", "as long as", 1.3, "threads"),
    Bar(17, "start_up", "as long as", 2.5, "mp.Pool"),
    Bar(17, "temporaries", "as long as", 1.02, "pardata, copying"),
    Bar(19, "cluster_8MB", "faster than", 0.9, "dask actors"),
    Bar(19, "cluster_small", "faster than", 1.5, "dask actors"),
    Bar(19, "cluster_single", "faster than", 2, "dask distributed"),
    Bar(19, "cluster_chain", "faster than", 3, "dask distributed"),
    Bar(19, "cluster_ray_8MB", "faster than", 0.9, "ray actors"),
    Bar(19, "cluster_ray_small", "faster than", 1.0, "ray tasks"),
    Bar(19, "cluster_ray_single", "faster than", 0.7, "ray tasks"),
    Bar(19, "cluster_ray_chain", "faster than", 3, "ray tasks"),
    Bar(19, "cluster_ray_made", "faster than", 2.5, "ray data"),
    Bar(20, "data_zarr", "faster than", 1.2, "dask threads"),
    Bar(20, "data_zarr", "faster than", 3, "dask processes"),
    Bar(20, "data_zarr_peak", "at most", 60),
    Bar(20, "data_hdf5", "faster than", 1.5, "mp.Pool"),
    Bar(20, "data_tiff", "faster than", 2, "concurrent.futures"),
    Bar(20, "loader_pictures", "faster than", 3, "torch"),
    Bar(20, "loader_jpeg", "faster than", 1.2, "torch"),
    Bar(20, "loader_first", "as long as", 0.2, "torch"),
)


def judge(bar: Bar, results: Results) -> Judgement:
    """Judge a bar by the results."""
    measured = _measured(bar, results)
    if measured is None:
        return Judgement(bar, None, "not measured")
    reached = measured >= bar.limit if bar.kind in UPWARDS else measured <= bar.limit
    return Judgement(bar, measured, "pass" if reached else "falls short")


def _measured(bar: Bar, results: Results) -> float | None:
    ours = results.median(bar.case, "pardata")
    if ours is None:
        return None
    if bar.kind == "more than case":
        theirs = results.median(bar.other, "pardata")
        return None if theirs is None else max(0.0, ours - theirs)
    if bar.kind in ABSOLUTE:
        return ours
    if bar.kind == "alike":
        others = [results.median(name, "pardata") for name in bar.other.split(",")]
        known = [ours, *(other for other in others if other is not None)]
        return max(known) / min(known) if len(known) == len(others) + 1 else None
    if bar.kind == "of case":
        theirs = results.median(bar.other, "pardata")
        return ours / theirs if theirs else None
    theirs = results.median(bar.case, bar.other)
    if not theirs:
        return None
    faster = ours / theirs if results.more_is_better(bar.case) else theirs / ours
    return faster if bar.kind == "faster than" else 1 / faster


def bars_of(cases: set[str]) -> list[Bar]:
    """The bars about some cases."""
    return [bar for bar in BARS if bar.case in cases]


def sides_of(case: str) -> set[str]:
    """The sides that the bars of a case need."""
    own = [bar for bar in BARS if bar.case == case]
    return {"pardata"} | {bar.other for bar in own if bar.kind in ("faster than", "as long as")}
