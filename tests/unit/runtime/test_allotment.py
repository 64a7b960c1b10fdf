"""The workers of stages with workers="auto", on simulated runs: near the best fixed ones, and steady."""

import pytest

from pardata.runtime.allotment import Allotment, StageCounts, StageShape
from tests.unit.runtime.allotted import CASES, Simulation

# Seconds with the best fixed workers: see `allotted`.
BEST_S = {
    8: {
        "chain": 24.14,  # 2, 4, 2
        "farm": 20.10,  # 8
        "diamond": 32.11,  # 1, 3, 2, 1
        "filter": 24.82,  # 3, 5
        "slow tail": 25.43,  # 1, 1, 6
        "changing load": 35.07,  # 4, 3, 1
        "bursts": 26.90,  # 1, 6, 1
        "waiting for disks": 26.06,  # 5, 1, 2
        "heavy-tailed": 27.05,  # 1, 4, 3
        "serial bottleneck": 20.40,  # 1, 5
        "memory": 20.10,  # 2, 4, 2
    },
    32: {
        "chain": 21.76,  # 4, 18, 9
        "farm": 20.10,  # 32
        "diamond": 21.84,  # 3, 14, 8, 6
        "filter": 22.88,  # 12, 20
        "slow tail": 20.64,  # 1, 1, 30
        "changing load": 32.38,  # 15, 15, 2
        "bursts": 24.36,  # 5, 22, 5
        "waiting for disks": 21.24,  # 25, 1, 6
        "heavy-tailed": 23.16,  # 5, 18, 9
        "serial bottleneck": 20.80,  # 7, 23
        "memory": 20.20,  # 8, 16, 8
    },
}
UNSTEADY = {"changing load", "bursts"}
NOISY = {"filter", "heavy-tailed"}
SETTLED_S = 2.0


@pytest.fixture(scope="module", params=[(cores, name) for cores in BEST_S for name in CASES], ids=str)
def tuned(request):
    """A simulated run."""
    cores, name = request.param
    simulation = Simulation(CASES[name](cores), cores)
    simulation.tuned()
    return name, cores, simulation


def test_it_is_within_a_tenth_of_the_best_fixed_workers(tuned):
    name, cores, simulation = tuned
    assert simulation.now <= 1.1 * BEST_S[cores][name]


def test_it_settles(tuned):
    name, _, simulation = tuned
    late = [workers for at_s, workers in simulation.log if at_s > SETTLED_S]
    assert len(late) <= (5 if name in UNSTEADY | NOISY else 1)


def test_the_best_fixed_workers_are_those_of_the_simulation():
    assert round(Simulation(CASES["farm"](8), 8).makespan([8]), 2) == BEST_S[8]["farm"]


# -- rules -------------------------------------------------------------------------------------------------------------

SOURCE = StageShape((), counts=False)


def counts(items, busy_s, waited_s=0.0):
    return StageCounts(items, 0, busy_s, waited_s)


def chain(*most, cores=8):
    """An allotment for a source and a chain of stages behind it that may have so many workers."""
    return Allotment([SOURCE, *(StageShape((at,), 1, each) for at, each in enumerate(most))], cores)


def looked(allotment, *stages):
    """Show it a steady load for 20 looks: per stage the seconds of work and of waits of all workers, per second."""
    for look in range(1, 21):
        at_s = look / 10
        seen = [counts(int(100 * at_s) + 1, busy * at_s, waits * at_s) for busy, waits in stages]
        allotment.look(at_s, [counts(int(100 * at_s) + 1, 0.01 * at_s, 0.9 * at_s), *seen])
    return allotment.workers


def test_a_busy_stage_gets_the_workers():
    assert looked(chain(7, 7), (0.1, 0.9), (1.0, 0.0)) == [1, 1, 7]


def test_no_stage_gets_more_where_all_wait():
    assert looked(chain(7, 7), (0.1, 0.9), (0.4, 0.6)) == [1, 1, 1]


def test_a_stage_that_cannot_have_more_bounds_the_others():
    assert looked(chain(7, 1, cores=9), (0.9, 0.1), (0.3, 0.7)) == [1, 4, 1]


def test_workers_go_back_where_the_load_changes():
    allotment = chain(7, 7)
    assert looked(allotment, (0.1, 0.9), (1.0, 0.0)) == [1, 1, 7]
    before = [(0.1 * 2.0, 0.9 * 2.0), (2.0, 0.0)]
    for look in range(21, 60):  # from now on the first one has ten times as much to do as the second
        after_s = look / 10 - 2
        stages = [(before[0][0] + after_s, before[0][1]), (before[1][0] + 0.1 * after_s, 6.9 * after_s)]
        seen = [counts(10 * look + 1, busy, waits) for busy, waits in stages]
        allotment.look(look / 10, [counts(10 * look + 1, 0.01), *seen])
    assert allotment.workers[1] >= 6


def test_equal_loads_that_only_seem_to_differ_end_the_changes():
    allotment, changes = chain(4, 4, cores=5), []
    seen = [0.0, 0.0]
    for look in range(1, 600):
        heavy = look // 15 % 2  # each stage in turn seems to take a third more
        seen = [seen[0] + 0.1 * (1 + heavy / 3), seen[1] + 0.1 * (1 + (1 - heavy) / 3)]
        items = 10 * look + 1
        changes.append(allotment.look(look / 10, [counts(items, 0.01), counts(items, seen[0]), counts(items, seen[1])]))
    assert sum(changes[:300]) <= 6
    assert sum(changes[300:]) <= 4


def test_a_stage_gets_workers_also_long_after_the_sources_have_ended():
    sort = StageShape((0,))  # takes all, computes for eleven seconds, and then gives
    allotment = Allotment([StageShape((), counts=False), sort, StageShape((1,), 1, 4, is_exact=False)], 5)
    for tenth in range(1, 250):
        at_s = tenth / 10
        sorts_s, works_s = min(at_s, 11.0), max(at_s - 11.0, 0.0)
        counts = [StageCounts(40), StageCounts(40, 0, sorts_s, at_s - sorts_s)]
        allotment.look(at_s, [*counts, StageCounts(int(works_s / 0.3), 0, works_s, at_s - works_s)])
    assert allotment.workers == [1, 1, 4]
