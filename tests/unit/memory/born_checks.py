"""Checks of NumPy's allocator over an arena, each printed with its outcome: run in a process of its own.

A process opens the allocator once, and keeps it.
"""

import contextlib
import json
import os
import threading

import numpy as np

from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.born.lender import Lender
from pardata.memory.budget import RESERVED, Budget
from pardata.memory.gaps import size_class
from pardata.memory.segment import Segment

ENTRIES = 20_000  # float64
NBYTES = 8 * ENTRIES
LIMIT = 1 << 30

segment = Segment.create()
span = Span(1 << 30, 1 << 30)
header = span.words(segment)
budget = Budget(LIMIT, [header, Span(0, 4096).words(segment)], ["a", "b"])
arena = Arena(segment, span, HEADER_BYTES, budget, "a")
lender = Lender(arena, budget, lambda: None, lambda ready, seconds: ready(), 256 << 20)
library = lender._library


def is_born(array):
    at = array.__array_interface__["data"][0]
    return library.start <= at < library.end


def all_likely(nbytes=NBYTES):
    """Begin a round in which the next 64 arrays of a size are taken for likely to be sent."""
    for _ in range(7):
        library.missed(0, nbytes)


def stock(count, nbytes):
    """Have so many more warm blocks in the arena, as after copies that were let go."""
    blocks = [arena.reserve(nbytes) for _ in range(count)]
    del blocks


def stocked(count=8, nbytes=NBYTES):
    """Have free blocks for as many arrays, all of them likely."""
    while True:
        all_likely(nbytes)
        made = [np.empty(nbytes // 8) for _ in range(count)]
        if all(map(is_born, made)):
            break
        stock(count - sum(map(is_born, made)), nbytes)
        lender.lend()
    all_likely(nbytes)


def hand_over(array):
    """Return the anchor of an array that nobody else has."""
    box = [array]
    del array
    return lender.hand_over(box[0], box[0].nbytes)


def extents_are_those_of_the_arena():
    sizes = [1, 4095, 4096, 4097, 65_536, 163_839, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 80_000_000, (1 << 33) + 5]
    return [library._functions.born_extent_for(n) for n in sizes] == [size_class(n) for n in sizes]


def small_arrays_are_numpys():
    stocked()
    return not is_born(np.empty(1000)) and is_born(np.empty(ENTRIES))


def freed_blocks_come_back():
    stocked(4)
    places = set()
    for _ in range(50):
        made = np.empty(ENTRIES)
        places.add(made.__array_interface__["data"][0])
        del made
    return len(places) == 1


def zeros_are_zeros():
    stocked()
    junk = [np.full(ENTRIES, 7.0) for _ in range(8)]
    del junk
    made = [np.zeros(ENTRIES) for _ in range(8)]
    return all(is_born(array) and not array.any() for array in made)


def resizing_keeps_the_numbers():
    stocked()
    for small in (3, 1000, ENTRIES // 2, ENTRIES - 1):
        made = np.arange(float(ENTRIES))
        made.resize(small, refcheck=False)
        made.resize(ENTRIES, refcheck=False)
        if (made[:small] != np.arange(float(small))).any() or made[small:].any():
            return False
        made.resize(3 * ENTRIES, refcheck=False)
        if made[ENTRIES:].any():
            return False
    return True


def what_was_handed_over_is_not_moved_by_resizing():
    stocked()
    made = np.arange(float(ENTRIES))
    anchor = lender.hand_over(made, made.nbytes)
    sent = np.ndarray(ENTRIES, float, anchor)
    made.setflags(write=True)
    with contextlib.suppress(ValueError):
        made.resize(2 * ENTRIES, refcheck=False)
    del made
    others = [np.zeros(ENTRIES) for _ in range(8)]
    del others
    return bool((sent == np.arange(float(ENTRIES))).all())


def handed_over_blocks_count_until_they_are_let_go():
    stocked()
    before = arena.statistics()["live_bytes"]
    anchor = hand_over(np.ones(ENTRIES))
    during = arena.statistics()["live_bytes"]
    again = lender.hand_over(anchor.root, NBYTES)
    del anchor
    after = arena.statistics()["live_bytes"]
    return again is None and (during - before, after - before) == (size_class(NBYTES), 0)


def a_part_that_a_copy_would_need_less_for_is_not_handed_over():
    stocked()
    made = np.ones(ENTRIES)
    return lender.hand_over(made, NBYTES // 2) is None and lender.hand_over(made, NBYTES) is not None


def very_large_memory_that_is_not_shared_is_kept():
    """And given back when the worker is idle."""
    nbytes = 40 << 20
    for _ in range(70):  # not likely
        np.empty(nbytes // 8)
    made = np.full(nbytes // 8, 1.0)
    at, is_private = made.__array_interface__["data"][0], not is_born(made)
    made.resize(nbytes // 8 - 1, refcheck=False)
    made.resize(nbytes // 8, refcheck=False)
    at = made.__array_interface__["data"][0]
    other = np.full(nbytes // 8, 2.0)
    del made
    again = np.empty(nbytes // 8)
    is_same = again.__array_interface__["data"][0] == at
    zeros = [np.zeros(nbytes // 8) for _ in range(8)]  # more than is kept
    is_right = all(not array[:: 1 << 12].any() for array in zeros)
    del zeros, again
    lender.trim()
    return is_private and is_same and is_right and bool((other == 2).all())


def fresh_blocks_are_waited_for_where_results_are_out():
    """After pauses in vain, 1, 3 and 7 are left out; one that was not in vain begins anew."""
    nbytes, asked = 5 << 20, []
    lender._pause = lambda ready, seconds: asked.append(seconds) or found
    arena.on_shortage = lambda extent: False  # as in a run
    try:
        found, out = False, []
        for _ in range(3):
            lender.make_room(nbytes)
            out.append(arena.reserve(nbytes))
        none_yet = not asked
        out.append(arena.reserve(nbytes))
        for _ in range(15):
            lender.make_room(nbytes)
        in_vain = len(asked)
        found = True
        lender.make_room(nbytes)
        lender.make_room(nbytes)
        before_next = len(asked)
        lender._skips = 0
        lender.make_room(nbytes)
        lender.make_room(nbytes)
        first_warm = len(asked) - before_next
        del out[0]
        lender.make_room(nbytes)
        return none_yet and in_vain == 4 and first_warm == 2 and len(asked) == before_next + 2
    finally:
        arena.on_shortage = None
        lender._pause = lambda ready, seconds: ready()


def without_budget_nothing_is_handed_over():
    stocked()
    budget.limit_bytes = arena.statistics()["live_bytes"] + size_class(NBYTES) - 1
    try:
        return hand_over(np.ones(ENTRIES)) is None
    finally:
        budget.limit_bytes = LIMIT


def a_share_of_the_limit_is_lent():
    kept = [np.empty(1 << 20) for _ in range(20)]
    for _ in range(60):
        all_likely(8 << 20)
        stock(4, 8 << 20)
        kept += [np.empty(1 << 20) for _ in range(4)]
        lender.lend()
    return 0 < library.kept_bytes() <= LIMIT // 4 and sum(map(is_born, kept)) > 10


def blocks_of_sizes_that_nobody_asks_for_make_way():
    kept = []
    while not kept or is_born(kept[-1]):  # until the share is lent
        all_likely(8 << 20)
        stock(4, 8 << 20)
        kept += [np.empty(1 << 20) for _ in range(4)]
        lender.lend()
    del kept
    for requests in range(100):
        all_likely(24 << 20)
        if is_born(np.empty(3 << 20)):
            return requests > 40 and library.kept_bytes() <= LIMIT // 4
        stock(1, 24 << 20)
        lender.lend()
    return False


def trimming_gives_back_what_no_array_has():
    lender.trim()
    before = header[RESERVED]
    stocked()
    kept = np.ones(ENTRIES)
    lender.trim()
    return header[RESERVED] - before == size_class(NBYTES) and is_born(kept) and bool((kept == 1).all())


def other_threads_have_numpys_allocator():
    stocked()
    made = [np.ones(ENTRIES) for _ in range(8)]
    found = []
    thread = threading.Thread(target=lambda: (made.clear(), found.append(is_born(np.empty(ENTRIES)))))
    thread.start()
    thread.join()
    return found == [False] and is_born(np.empty(ENTRIES))


def threads_may_free_and_the_main_one_take():
    stocked()
    boxes = [[] for _ in range(4)]
    end = threading.Event()

    def empty(box):
        while not end.is_set():
            with contextlib.suppress(IndexError):
                if (box.pop() != 5).any():
                    wrong.append(1)

    wrong = []
    threads = [threading.Thread(target=empty, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for number in range(2000):
        if not number % 50:
            all_likely()
        box = boxes[number % 4]
        if len(box) < 4:
            box.append(np.full(ENTRIES, 5.0))
    end.set()
    for thread in threads:
        thread.join()
    return not wrong


def forked_processes_have_arrays_of_their_own():
    """Also if the parent ends, or its span is used again: the last check, nothing is born afterwards."""
    stocked()
    made, handed = np.full(ENTRIES, 1.0), hand_over(np.full(ENTRIES, 2.0))
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        made[:100] = 8
        mine = np.full(ENTRIES, 9.0)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        is_right = (made[:100] == 8).all() and (made[100:] == 1).all() and (mine == 9).all() and not is_born(mine)
        del made, mine
        os._exit(0 if is_right else 1)
    os.read(ready[0], 1)
    seen = bool((made == 1).all())
    made[:] = 3
    Segment(os.dup(segment.fd), segment.size_bytes).punch(span.offset, 1 << 30)  # as one that takes the span over does
    os.write(go[1], b"x")
    _, status = os.waitpid(child, 0)
    lender.trim()
    is_right = status == 0 and seen and bool((made == 3).all()) and hand_over(made) is None
    del made, handed
    return is_right and not library.is_on and not is_born(np.empty(ENTRIES))


def makes(pattern, messages):
    """Make arrays as an item does, in `pattern` one of each letter, and send those in capitals; return what was born.

    The last item's letters that lay in blocks, and how many results were copied.
    """
    copied, born = 0, ""
    for number in range(messages):
        kinds = pattern(number)
        made = [np.full(ENTRIES // (1 + (kind in "xX")), 1.0) for kind in kinds]
        born = "".join(kind for kind, array in zip(kinds, made, strict=True) if is_born(array))
        for index, kind in enumerate(kinds):
            if kind.isupper() and lender.hand_over(made[index], made[index].nbytes) is None:
                copied += 1
                stock(1, made[index].nbytes)  # the copy, which was sent and let go
    return born, copied


def only_what_was_sent_lately_is_born():
    """A table: what items make, what of the last one lay in a block, how many of 100 were copied at the most."""
    cases = [
        (lambda number: "A", "A", 3),
        (lambda number: "abC", "C", 3),
        (lambda number: "aBcD", "BD", 6),
        (lambda number: "xaX", "X", 3),
        (lambda number: "axXA"[:: 1 + number % 2], "xXA", 10),
        (lambda number: "a" * (number * 7 % 5) + "B", "B", 20),
        (lambda number: "aaaaa" if number % 2 else "aaaaB", "B", 10),
    ]
    wrong = []
    for index, (pattern, wanted, most_copied) in enumerate(cases):
        begin_anew()
        born, copied = makes(pattern, 101)
        if born != wanted or copied > most_copied:
            wrong.append((index, born, copied))
    return not wrong or print(wrong)


def begin_anew():
    """Have the sizes of all that was asked for before forgotten."""
    for number in range(32):
        np.empty((1 << 20) + (number << 18))


CHECKS = [
    only_what_was_sent_lately_is_born,
    extents_are_those_of_the_arena,
    small_arrays_are_numpys,
    freed_blocks_come_back,
    zeros_are_zeros,
    resizing_keeps_the_numbers,
    what_was_handed_over_is_not_moved_by_resizing,
    handed_over_blocks_count_until_they_are_let_go,
    a_part_that_a_copy_would_need_less_for_is_not_handed_over,
    fresh_blocks_are_waited_for_where_results_are_out,
    very_large_memory_that_is_not_shared_is_kept,
    without_budget_nothing_is_handed_over,
    a_share_of_the_limit_is_lent,
    blocks_of_sizes_that_nobody_asks_for_make_way,
    trimming_gives_back_what_no_array_has,
    other_threads_have_numpys_allocator,
    threads_may_free_and_the_main_one_take,
    forked_processes_have_arrays_of_their_own,
]

if __name__ == "__main__":
    print(json.dumps({check.__name__: bool(check()) for check in CHECKS}))
