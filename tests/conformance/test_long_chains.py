"""Chains of hundreds of stages: they run, or are refused with a number before anything is started."""

import sys

import pytest

import pardata
from pardata.errors import ConfigError

STAGES = 500

HAS_LIMIT_OF_C = sys.version_info[:2] == (3, 12)


def chain(step, stages=STAGES):
    stream = pardata.source(range(5))
    for number in range(stages):
        stream = step(stream, number)
    return stream


def mapped(stream, number):
    return stream.map(abs)


def mixed(stream, number):
    """A diamond now and then, a branching, and what drops nothing."""
    if number % 5 == 1:
        return pardata.zip(stream, stream.map(abs)).map(max)
    if number % 5 == 2:
        return pardata.merge(*stream.partition(abs, 2), policy="ordered")
    if number % 5 == 3:
        return stream.filter(lambda x: True)
    return stream.map(abs)


def passing(items):
    yield from items


def filtered(stream, number):
    return stream | passing


@pytest.mark.parametrize("engine", ["serial", "threads"])
@pytest.mark.parametrize("step", [mapped, mixed])
def test_chain_runs(engine, step):
    assert list(chain(step).iterate(engine=engine)) == list(range(5))


def test_one_item_is_tried_in_a_chain():
    assert "abs-500" in str(chain(mapped).dry_run(3))


def test_generator_filters_in_a_row_run_on_threads():
    assert list(chain(filtered).iterate(engine="threads")) == list(range(5))


@pytest.mark.parametrize("step", [filtered, lambda stream, number: stream.flat_map(lambda x: [x])])
def test_serial_engine_says_how_many_generator_filters_it_can_nest(step):
    says = "" if HAS_LIMIT_OF_C else r".*setrecursionlimit\(2650\)"
    with pytest.raises(ConfigError, match=f'500 stages in a row .*engine="serial" nests .*use another engine{says}'):
        chain(step).iterate(engine="serial")


def test_generator_filters_that_it_accepts_run():
    most = ((1000 if HAS_LIMIT_OF_C else sys.getrecursionlimit()) - 150) // 5
    with pytest.raises(ConfigError):
        chain(filtered, most + 1).iterate(engine="serial")
    assert list(chain(filtered, most).iterate(engine="serial")) == list(range(5))


@pytest.mark.skipif(HAS_LIMIT_OF_C, reason="on Python 3.12 setrecursionlimit does not let calls through C nest deeper")
def test_more_generator_filters_run_when_more_calls_may_be_nested():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(2650)
    try:
        assert list(chain(filtered).iterate(engine="serial")) == list(range(5))
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (lambda: chain(mapped, 600), "601 stages with 601 workers together; .* room for 503"),
        (lambda: pardata.source(range(5)).map(abs, workers=700), "2 stages with 701 workers together"),
        (lambda: chain(filtered, 450), "451 sources, generator filters"),
    ],
)
def test_processes_are_refused_with_the_number(stream, told):
    with pytest.raises(ConfigError, match=told):
        stream().iterate(engine="processes")
