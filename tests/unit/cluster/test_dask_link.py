"""A link between home and an island: messages go together, in their order, and each array has memory of its own."""

import asyncio
import threading

import numpy as np
import pytest

pytest.importorskip("distributed")

from distributed.comm import connect, listen

from pardata.cluster.bundle import BUNDLE_BYTES
from pardata.cluster.dask_link import Link


def over_a_link(address, use):
    """Have `use` do something with a link, and return what the other end took, and in how many writes."""
    taken, there = [], asyncio.Event()

    async def serve(comm):
        def take(number, frames):
            taken.append((number, frames))
            if number < 0:
                there.set()

        with pytest.raises(OSError):
            await Link(comm).read(take)
        there.set()

    async def run():
        async with listen(address, serve) as listener:
            comm = await connect(listener.contact_address)
            writes, write = [], comm.write
            comm.write = lambda message, **options: (writes.append(message), write(message, **options))[1]
            link = Link(comm)
            await use(link)
            await there.wait()
            link.close()
            return len(writes)

    return taken, asyncio.run(run())


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "inproc://"])
def test_messages_that_are_put_together_go_together_and_large_ones_do_not_wait_for_others(address):
    large = np.arange(BUNDLE_BYTES, dtype=np.uint8)
    small = np.arange(100_000, dtype=np.uint8)

    async def use(link):
        for number in range(100):
            link.put(number, [b"small"])
        link.put(100, [b"head", small, small, b"tail"])
        link.put(101, [b"head", large])
        link.put(102, [b"x" * 100_000])
        link.put(-1, [b"end"])

    taken, writes = over_a_link(address, use)
    assert [number for number, _ in taken] == [*range(103), -1]
    assert writes == 2
    told = [[bytes(part) for part in frames] for _, frames in taken]
    assert told[99:102] == [[b"small"], [b"head", bytes(small), bytes(small), b"tail"], [b"head", bytes(large)]]
    assert told[102:] == [[b"x" * 100_000], [b"end"]]
    arrays = [frame for _, frames in taken for frame in frames if isinstance(frame, np.ndarray)]
    assert not any(np.shares_memory(array, given) for array in arrays for given in (small, large))
    assert len({id(array.base if address != "inproc://" else array) for array in arrays}) == 3
    small[:] = 0
    assert told[100][1] == bytes(taken[100][1][1])


def test_threads_put_while_others_are_written():
    async def use(link):
        def put(begin):
            for number in range(begin, begin + 500):
                link.put(number, [b"x"])

        threads = [threading.Thread(target=put, args=(1000 * index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        link.put(-1, [])

    taken, _ = over_a_link("tcp://127.0.0.1", use)
    numbers = [number for number, _ in taken]
    assert [sorted(numbers[:-1]), numbers[-1]] == [[1000 * index + at for index in range(3) for at in range(500)], -1]
    assert all(part == sorted(part) for part in [[n for n in numbers if n // 1000 == index] for index in range(3)])


def test_a_link_that_is_closed_drops_what_is_put():
    async def use(link):
        link.close()
        link.put(0, [b"x"])

    assert over_a_link("tcp://127.0.0.1", use)[0] == []


def test_a_link_that_cannot_write_a_message_is_closed_at_both_ends():
    refused = []

    async def run():
        async def serve(comm):
            with pytest.raises(OSError):
                await Link(comm).read(lambda number, frames: None)
            refused.append("there")

        async def write(message, **options):
            raise MemoryError

        async with listen("tcp://127.0.0.1", serve) as listener:
            asyncio.get_running_loop().set_exception_handler(lambda loop, told: refused.append(told["exception"]))
            comm = await connect(listener.contact_address)
            comm.write = write
            link = Link(comm)
            link.put(0, [b"x"])
            with pytest.raises(OSError):
                await link.read(lambda number, frames: None)
            while "there" not in refused:
                await asyncio.sleep(0)

    asyncio.run(run())
    assert {type(each) for each in refused} == {str, MemoryError}
