"""The processes of the tests of queues, and what they do: a spawned one imports this by name."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import util
from typing import Any

import numpy as np

import pardata
from pardata.memory.exchange.addresses import forget_the_gone
from pardata.queue import queue as queue_module

LARGE = 40_000  # numbers in an array
SLOTS = 256  # packets in a pipe


def large(number: int) -> np.ndarray:
    return np.full(LARGE, number, float)


def kill_me(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def put_all(queue: Any, items: list[Any], signal_end: Any = None) -> None:
    """Put items (an int below zero stands for a large array), say so, and stay until told."""
    for item in items:
        queue.put(large(item) if isinstance(item, int) and item < 0 else item)
    if signal_end is not None:
        signal_end.send("put")
        signal_end.recv()


def put_and_tell_at_the_end(queue: Any, told: Any) -> None:
    """Put an array; the other side hears of it when this process is as good as over."""
    queue.put(large(7))
    queue.put("small")
    util.Finalize(None, told.send, ("at the end",), exitpriority=-4)  # right before queues are waited for


def put_and_tell_when_it_leaves(queue: Any, items: Any, told: Any) -> None:
    close = queue._pipe.close_reader
    queue._pipe.close_reader = lambda: [close(), told.send("has no read end")]
    queue.put_many(items)


def put_and_tell_behind_the_feeder(queue: Any, told: Any) -> None:
    """Put an array for which the pipe has no room; the other side hears whether it is waited for behind the buffer."""
    wait = queue_module.wait_until_received

    def tell_and_wait(pipe: Any, is_awaited: Any) -> None:
        told.send("can tell readers" if pipe.writer >= 0 else "has no write end")
        wait(pipe, is_awaited)

    queue_module.wait_until_received = tell_and_wait
    put_and_tell_when_it_leaves(queue, [*range(SLOTS), large(7)], told)


def get_all(queue: Any, results: Any) -> None:
    got = []
    try:
        while True:
            got.append(queue.get())
    except EOFError:
        results.put(got)


def get_all_and_tell(queue: Any, told: Any) -> None:
    got = []
    try:
        while True:
            got.append(queue.get())
    except EOFError:
        told.send(got)


def close_and_stay(queue: Any, told: Any) -> None:
    queue.close()
    told.send("closed")
    told.recv()


def wait_in_a_thread(daemon: bool) -> None:
    queue = pardata.Queue()
    waits = threading.Event()
    update = queue._update_ends
    queue._update_ends = lambda: [update(), waits.set()]

    def get() -> None:
        try:
            queue.get()
        except EOFError:
            print("end")

    threading.Thread(target=get, daemon=daemon).start()
    waits.wait()


def get_one(queue: Any, told: Any) -> None:
    told.send(queue.get())
    told.recv()


def wait_and_tell(queue: Any, told: Any) -> None:
    """Wait for an item; the other side hears of it."""
    update = queue._update_ends

    def update_and_tell() -> None:
        update()
        told.send("has no write end" if queue._pipe.writer < 0 else "could put")

    queue._update_ends = update_and_tell
    queue.get()


def get_and_die_at(queue: Any, place: str) -> None:
    """Be killed between the read and the next step."""
    if place == "place":
        queue._free_slots.emptied = kill_me
    else:
        queue_module.unpack = kill_me
    queue.get()


def put_and_die_holding_a_place(queue: Any) -> None:
    queue_module.pack = kill_me
    queue.put(1)


def work(tasks: Any, results: Any) -> None:
    """Every task makes two more, up to a depth."""
    try:
        while True:
            depth = tasks.get()
            for _ in range(2 if depth else 0):
                tasks.put(depth - 1)
            results.put(depth)
    except EOFError:
        pass


def pass_on(source: Any, target: Any) -> None:
    try:
        while True:
            array = source.get()
            array += 1
            target.put(array)
    except EOFError:
        pass


def fill(queue: Any, array: Any) -> None:
    """`array` is shared memory of the parent."""
    array[...] = 5
    queue.put(array[::2])


def make_queue_and_leave(items: int, nbytes: int) -> None:
    """Put what nobody can ever get."""
    queue = pardata.Queue()
    for _ in range(items):
        queue.put(bytes(nbytes))


def put_and_cancel(queue: Any) -> None:
    queue.put(large(1))
    for number in range(2 * SLOTS):
        queue.put(number)
    queue.cancel_join_thread()


def starter(method: str) -> Iterator[Callable[..., Any]]:
    """Start processes; all are over at the end of the test."""
    context = multiprocessing.get_context(method)
    started = []

    def start(target: Any, *args: Any) -> Any:
        process = context.Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()
    gc.collect()
    forget_the_gone()  # happens by itself with the next queue, or the next array of a new process
