"""Checks of `pardata.in_shared_memory`, each printed with its outcome: run in a process of its own.

That process keeps the allocator. Each check also holds where no array is born in a block: then `is_born` is true of
nothing, and all is copied.
"""

import contextlib
import io
import json
import os
import threading

import numpy as np

import pardata
from pardata.memory.array import find_anchor
from pardata.memory.born import nursery
from pardata.memory.born.library import why_not
from pardata.memory.shared_heap import shared_heap

ARE_BORN = why_not() is None
ENTRIES = 20_000  # float64
MANY = 10**6


def is_born(array):
    return find_anchor(array) is not None


def pages():
    """Bytes of shared memory that this program has."""
    return os.fstat(shared_heap().segment.fd).st_blocks * 512


def loaded(n=ENTRIES):
    """An array as a file has it."""
    file = io.BytesIO()
    np.save(file, np.arange(float(n)))
    file.seek(0)
    return np.load(file)


def what_numpy_makes_is_in_blocks():
    with pardata.in_shared_memory():
        made = [loaded(), np.stack([np.ones(ENTRIES)] * 3), np.zeros(ENTRIES), np.ones(ENTRIES) + 1]
        small = np.ones(10)
    after = np.ones(ENTRIES)
    is_right = (made[0] == np.arange(ENTRIES)).all() and not made[2].any() and (made[3] == 2).all()
    born = [is_born(array) for array in [*made, made[1][1, 5:]]]
    return is_right and born == [ARE_BORN] * 5 and not is_born(small) and not is_born(after)


def pools_and_streams_take_it_without_a_copy():
    with pardata.in_shared_memory():
        volume, items = np.full(MANY, 3.0), [np.full(ENTRIES, float(number)) for number in range(20)]
    state = np.full(ENTRIES, 1.0) if not ARE_BORN else volume
    with pardata.WorkerPool(1) as pool:
        before = pages()
        total = pool.reduce_array(np.sum, volume, combine=np.add)
        taken = pages() - before
        is_right = float(total) == 3.0 * MANY and pool.submit(np.sum, items[7]).result() == 7.0 * ENTRIES
        first = pool.submit(lambda: float(state[0])).result()
        for item in items:
            item.setflags(write=False)
        is_right &= pool.submit(lambda parts: [part[9] for part in parts], items[3:9]).result() == [3, 4, 5, 6, 7, 8]
    sums = list(pardata.source(items).map(np.sum))
    is_right &= sums == [float(number) * ENTRIES for number in range(20)] and first == state[0]
    return is_right and (taken < volume.nbytes // 2 or not ARE_BORN)


def workers_see_what_is_written_to_it():
    with pardata.in_shared_memory():
        state = np.zeros(ENTRIES)

    def look(_):
        return float(state[0])

    found = []
    for value in pardata.source(range(3)).map(look, chunksize=1).iterate(tokens=1):
        found.append(value)
        state[0] = 5.0
    return found[0] == 0 and (5.0 in found) == ARE_BORN


def its_memory_goes_when_it_dies():
    with pardata.in_shared_memory():
        inside = np.ones(MANY)
        at = inside.__array_interface__["data"][0]
        del inside
        again = np.ones(MANY)
        is_same = at == again.__array_interface__["data"][0]
        kept = np.full(ENTRIES, 2.0)
    before = pages()
    del again
    freed = before - pages()
    shared_heap().arena.trim()
    is_right = (kept == 2).all() and shared_heap().arena.statistics()["live_bytes"] == 0
    return is_right and (not ARE_BORN or (is_same and freed >= 8 * MANY))


def sizes_that_nobody_asks_for_any_more_have_no_memory():
    with pardata.in_shared_memory():
        np.ones(MANY)
        for _ in range(60):
            np.ones(ENTRIES)
        before = pages()
        other = np.ones(2 * ENTRIES)
        given_back = before - pages()
        again = np.ones(MANY)
    return given_back > 7 * MANY * ARE_BORN - 1 and (again == 1).all() and (other == 1).all()


def threads_nesting_and_exceptions():
    found = {}

    def other():
        found["thread"] = is_born(np.ones(ENTRIES))
        with pardata.in_shared_memory():
            found["its own"] = is_born(np.ones(ENTRIES))

    with contextlib.suppress(KeyError), pardata.in_shared_memory():
        with pardata.in_shared_memory():
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        found["outer"] = is_born(np.ones(ENTRIES))
        raise KeyError
    found["after"] = is_born(np.ones(ENTRIES))
    return found == {"thread": False, "its own": ARE_BORN, "outer": ARE_BORN, "after": False}


def made_with_available(nbytes):
    """Many arrays, where so much memory is available."""
    original = nursery.available_bytes
    nursery.available_bytes = lambda: nbytes
    try:
        with pardata.in_shared_memory():
            return [np.full(ENTRIES, float(number)) for number in range(100)]
    finally:
        nursery.available_bytes = original


def without_room_it_is_ordinary_memory():
    made, without_any = made_with_available(8 << 20), made_with_available(0)
    with pardata.in_shared_memory():
        later = np.full(ENTRIES, 1.0)
    born, others = sum(map(is_born, made)), sum(map(is_born, without_any))
    is_right = all((array == number).all() for number, array in enumerate(made))
    return is_right and others == 0 and (later == 1).all() and (0 < born < 50 if ARE_BORN else not born)


def in_worker(x):
    with pardata.in_shared_memory():
        return x + 1


def workers_may_say_so_too():
    items = [np.full(ENTRIES, float(number)) for number in range(10)]
    results = pardata.source(items).map(in_worker)
    return all((array == number + 1).all() for number, array in enumerate(results))


def forks_make_it_private():
    with pardata.in_shared_memory():
        made = np.ones(ENTRIES)
        child = os.fork()
        if not child:
            made[:] = 7
            with pardata.in_shared_memory():
                mine = np.full(ENTRIES, 8.0)
            os._exit(0 if (made == 7).all() and (mine == 8).all() else 1)
        _, status = os.waitpid(child, 0)
    with pardata.in_shared_memory():
        later = np.ones(ENTRIES)
    return status == 0 and (made == 1).all() and not is_born(made) and is_born(later) is ARE_BORN


def forked_children_keep_what_a_run_is_using():
    with pardata.in_shared_memory():
        made = np.ones(ENTRIES)
        anchor = find_anchor(made)
        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            os.read(go[0], 1)
            os._exit(0 if (made == 1).all() else 1)
        del made, anchor
    with pardata.in_shared_memory():
        others = [np.full(ENTRIES, 9.0) for _ in range(50)]
    os.write(go[1], b"x")
    _, status = os.waitpid(child, 0)
    for fd in (*ready, *go):
        os.close(fd)
    return status == 0 and (others[-1] == 9).all()


CHECKS = [
    what_numpy_makes_is_in_blocks,
    pools_and_streams_take_it_without_a_copy,
    workers_see_what_is_written_to_it,
    its_memory_goes_when_it_dies,
    sizes_that_nobody_asks_for_any_more_have_no_memory,
    threads_nesting_and_exceptions,
    without_room_it_is_ordinary_memory,
    workers_may_say_so_too,
    forks_make_it_private,
    forked_children_keep_what_a_run_is_using,
]

if __name__ == "__main__":
    print(json.dumps({check.__name__: bool(check()) for check in CHECKS}))
