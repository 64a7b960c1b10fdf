"""Streams in an event loop that goes on meanwhile, as in a notebook or a web server."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import pardata

ENGINES = ["serial", "threads", "processes"]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def test_items_and_their_order(engine):
    async def main():
        numbers = pardata.source(range(200)).map(lambda number: np.full(3000, number), workers=2)
        return [int(array[-1]) async for array in numbers.aiter(engine=engine)]

    assert asyncio.run(main()) == list(range(200))


def test_the_event_loop_goes_on_while_an_item_is_awaited(engine, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    ours = os.open(go, os.O_RDWR)  # so that neither end waits for the other one

    def wait(number):
        if number == 1:
            with open(go, "rb", buffering=0) as file:
                file.read(1)  # from the event loop
        return number

    async def main():
        items = pardata.source([1, 2]).map(wait).aiter(engine=engine)
        first = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        os.write(ours, b"x")
        return [await first, *[item async for item in items]]

    assert asyncio.run(main()) == [1, 2]
    os.close(ours)


def test_nothing_is_taken_before_it_is_asked_for(engine):
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    async def main():
        stream = pardata.source(numbers()).map(abs).aiter(engine=engine, tokens=2)
        async with contextlib.aclosing(stream) as items:
            for _ in range(3):
                await anext(items)
            await asyncio.sleep(0.01)
            return len(taken)

    assert asyncio.run(main()) < 1000


@pytest.mark.parametrize("way", ["break", "error", "cancel", "timeout", "never begun"])
def test_the_run_ends_with_the_loop(engine, way, tmp_path):
    """The fixture `nothing_is_left` looks for processes and threads."""
    closed = threading.Event()

    def numbers():
        try:
            yield from range(10**9)
        finally:
            closed.set()

    stream = pardata.source(numbers()).map(abs)

    async def consume():
        count = 0
        async for _ in stream.aiter(engine=engine):
            count += 1
            if count == 5 and way == "break":
                break
            if count == 5 and way == "error":
                raise ArithmeticError
            if count == 5:
                await asyncio.Event().wait()

    async def main():
        if way == "never begun":
            stream.aiter(engine=engine)
        elif way == "cancel":
            task = asyncio.ensure_future(consume())
            await asyncio.sleep(0.01)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif way == "timeout":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(consume(), 0.05)
        else:
            with contextlib.suppress(ArithmeticError):
                await consume()

    asyncio.run(main())
    assert way in ("cancel", "timeout", "never begun") or closed.wait(30)  # these may come before the first item


def test_a_cancelled_wait_for_an_item_ends_the_run(engine, tmp_path):
    begun, go = tmp_path / "begun", tmp_path / "go"
    os.mkfifo(begun)
    os.mkfifo(go)
    ours = os.open(go, os.O_RDWR)  # so that neither end waits for the other one

    def wait(number):
        begun.write_text("begun")
        with open(go, "rb", buffering=0) as file:
            file.read(1)

    async def main():
        task = asyncio.ensure_future(anext(pardata.source([1]).map(wait).aiter(engine=engine)))
        await asyncio.to_thread(begun.read_text)
        task.cancel()
        asyncio.get_running_loop().call_later(
            0.01, os.write, ours, b"x"
        )  # a serial run and a thread end with their item
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    os.close(ours)


def test_errors_come_as_what_they_are(engine):
    async def main():
        async for _ in pardata.source([1, 0]).map(lambda number: 1 / number).aiter(engine=engine):
            pass

    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(main())
    assert caught.value.__notes__ == ["in stage 'lambda', item 1: 0"]


def test_wrong_options_are_refused_at_once():
    with pytest.raises(pardata.ConfigError, match=os.path.basename(__file__) + ".*tokens must be"):
        pardata.source([1]).aiter(tokens=0)


def test_many_streams_at_once(engine):
    async def total(start):
        return sum([item async for item in pardata.source(range(start, start + 20)).map(abs).aiter(engine=engine)])

    async def main():
        return await asyncio.gather(*(total(start) for start in range(5)))

    assert asyncio.run(main()) == [sum(range(start, start + 20)) for start in range(5)]


KEPT = """
import asyncio, queue, sys
import pardata

kept = []

async def first(items):
    return await anext(items)

async def wait_for_next(items):
    kept.append(asyncio.ensure_future(anext(items)))
    await asyncio.sleep(0)

for engine in ["serial", "threads", "processes"]:
    for is_waiting, is_closed in [(False, True), (True, True), (False, False)]:
        loop = asyncio.new_event_loop()
        numbers = queue.Queue()
        numbers.put(1)
        items = pardata.source(numbers).map(abs).aiter(engine=engine)
        assert loop.run_until_complete(first(items)) == 1
        if is_waiting:
            loop.run_until_complete(wait_for_next(items))
        if is_closed:
            loop.close()
        kept.append((loop, items))
    loop = asyncio.new_event_loop()
    dropped = pardata.source([1, 2]).map(abs).aiter(engine=engine)
    assert loop.run_until_complete(anext(dropped)) == 1  # asked for where no loop runs: it has no finalizer
    loop.close()
    del dropped
print("at the end")
"""


def test_interpreter_ends_though_items_are_kept_and_their_loop_does_not_run():
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "at the end\n")
    assert "GeneratorExit" not in done.stderr
