"""What is compared with what, and which ratio is asked for. Pure: starts nothing, measures nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Bar:
    """What pardata must reach beside the scenario's rival.

    Parameters
    ----------
    kind : "faster" (at least `limit` times), "as long" (at most `limit` times as long), "seconds" or "MB" (at most)
    limit : float
    """

    kind: Literal["faster", "as long", "seconds", "MB"]
    limit: float

    def __str__(self) -> str:
        if self.kind == "faster":
            return f">= {self.limit:g} x"
        if self.kind == "seconds" and self.limit < 1e-3:
            return f"<= {self.limit * 1e6:g} us"
        return f"<= {self.limit:g} {({'as long': 'x', 'seconds': 's', 'MB': 'MB'})[self.kind]}"

    def reached(self, ours: float, ratio: float | None) -> bool | None:
        """True or False, or None where there is nothing to compare with."""
        if self.kind in ("seconds", "MB"):
            return ours <= self.limit
        if ratio is None:
            return None
        return ratio >= self.limit if self.kind == "faster" else ratio <= self.limit


@dataclass(frozen=True)
class Scenario:
    """One comparison.

    Parameters
    ----------
    unit : "items/s" (more is better), "s" or "MB" (less is better)
    sides : side -> "module:function" below this package; the first is pardata, the second the rival of the bar, all
        others are shown for information
    bar : Bar or None (information only)
    """

    name: str
    unit: Literal["items/s", "s", "MB"]
    sides: dict[str, str] = field(hash=False)
    bar: Bar | None = None

    @property
    def rival(self) -> str | None:
        """The side that pardata is compared with."""
        return next((side for side in self.sides if side != "pardata"), None)

    def ratio(self, ours: float, theirs: float) -> float:
        """How many times faster pardata is; for an "as long" bar, how many times as long it takes."""
        faster = ours / theirs if self.unit == "items/s" else theirs / ours
        return 1 / faster if self.bar is not None and self.bar.kind == "as long" else faster


def _lookup(name: str, bar: Bar, **rivals: str) -> Scenario:
    """A look-up by one worker; seconds per key."""
    return Scenario(f"lookup_{name}", "s", {"pardata": "lookups_pardata:measure", **rivals}, bar)


def _chain(name: str, bar: Bar | None, serial: bool = False) -> Scenario:
    """A chain of processes against the same chain on multiprocessing.Queue (and, asked for, one process's loop)."""
    sides = {"pardata": "chain_pardata:measure", "mp.Queue": "chain_queue:measure"}
    if serial:
        sides["one process"] = "chain_serial:measure"
    return Scenario(name, "items/s", sides, bar)


def _block(name: str, bar: Bar | None) -> Scenario:
    """A named block against the standard library's; seconds each."""
    return Scenario(name, "s", {"pardata": "blocks:pardata", "stdlib": "blocks:stdlib"}, bar)


def _list(name: str, bar: Bar | None) -> Scenario:
    """A `ShareableList` against the standard library's."""
    return Scenario(name, "items/s", {"pardata": "lists:pardata", "stdlib": "lists:stdlib"}, bar)


SCENARIOS = (
    _chain("chain_copy", Bar("faster", 10), serial=True),
    _chain("chain_inplace", Bar("faster", 20), serial=True),
    _chain("chain_nocopy_80KB", None),
    _chain("chain_nocopy_8MB", Bar("faster", 200)),
    _chain("chain_nocopy_80MB", None),
    _chain("chain_small", Bar("faster", 5)),
    Scenario(
        "map_array_threads",
        "s",
        {"pardata": "map_pardata:measure", "ThreadPoolExecutor": "map_threads:measure"},
        Bar("as long", 1.15),
    ),
    Scenario(
        "map_array_pool", "s", {"pardata": "map_pardata:measure", "mp.Pool": "map_pool:measure"}, Bar("faster", 3)
    ),
    Scenario(
        "start_up",
        "s",
        {
            "pardata": "start_pardata:measure",
            "Pool forkserver": "start_pool:forkserver",
            "Pool spawn": "start_pool:spawn",
        },
        Bar("seconds", 0.3),
    ),
    Scenario(
        "recovery_pool",
        "s",
        {"pardata": "recovery_pardata:pool", "executor, rebuilt": "recovery_executor:measure"},
    ),
    Scenario("recovery_stage", "s", {"pardata": "recovery_pardata:stage"}),
    _lookup("table_one", Bar("seconds", 2e-6), dict="lookups_rivals:private"),
    _lookup("table_many", Bar("seconds", 0.4e-6)),
    _lookup("table_manager", Bar("faster", 30), **{"Manager().dict()": "lookups_rivals:manager"}),
    Scenario("lookup_table_memory", "MB", {"pardata": "lookups_pardata:memory"}, Bar("MB", 5)),
    _lookup("database_one", Bar("seconds", 5e-6)),
    _lookup("database_many", Bar("seconds", 2e-6)),
    _lookup("service_one", Bar("seconds", 800e-6)),
    _lookup("service_many", Bar("seconds", 5e-6)),
    Scenario(
        "paged_random",
        "s",
        {"pardata": "paged:random_pages", "os.pread": "paged:random_pread"},
        Bar("as long", 1.3),
    ),
    Scenario(
        "paged_sequential",
        "s",
        {
            "pardata": "paged:sequential_pages",
            "np.fromfile": "paged:sequential_fromfile",
            "all as one array": "paged:sequential_whole",
        },
        Bar("faster", 0.8),
    ),
    _block("block_free", Bar("as long", 1.0)),
    _block("block_fill", Bar("faster", 5)),
    _block("block_attach", None),
    _list("list_read", Bar("faster", 3)),
    _list("list_write", Bar("faster", 3)),
    _list("list_iterate", Bar("faster", 10)),
    _list("list_iterate_mixed", None),
    Scenario(
        "task_submit",
        "s",
        {"pardata": "tasks:pardata_submit", "ProcessPoolExecutor": "tasks:executor_submit"},
        Bar("seconds", 80e-6),
    ),
    Scenario(
        "task_chunk_1",
        "s",
        {"pardata": "tasks:pardata_chunk_1", "mp.Pool": "tasks:pool_chunk_1"},
        Bar("seconds", 25e-6),
    ),
    Scenario("task_auto", "s", {"pardata": "tasks:pardata_auto", "mp.Pool": "tasks:pool_auto"}, Bar("seconds", 0.5e-6)),
    Scenario("task_array", "s", {"pardata": "tasks:pardata_array"}, Bar("seconds", 0.2e-6)),
    *(
        Scenario(
            f"loads_{load}",
            "s",
            {"pardata": "loads:auto", "best fixed chunksize": "loads:best_fixed"},
            Bar("as long", 1.05),
        )
        for load in "ABCDEFGH"
    ),
)

# The cost of a hop must not depend on the size: the fastest and the slowest of these within this ratio.
SAME_SPEED = ("chain_nocopy_80KB", "chain_nocopy_8MB", "chain_nocopy_80MB")
SAME_SPEED_LIMIT = 1.5


def select(names: list[str]) -> list[Scenario]:
    """The scenarios whose name is, or begins with, one of `names`; all for no names.

    Raises
    ------
    ValueError      a name fits no scenario.
    """
    for name in names:
        if not any(scenario.name.startswith(name) for scenario in SCENARIOS):
            raise ValueError(f"no scenario {name!r}; there are: {', '.join(s.name for s in SCENARIOS)}")
    return [s for s in SCENARIOS if not names or any(s.name.startswith(name) for name in names)]


def find(name: str) -> Scenario:
    """The scenario of this name."""
    return next(scenario for scenario in SCENARIOS if scenario.name == name)
