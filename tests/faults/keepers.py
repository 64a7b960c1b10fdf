"""A program that keeps one object of each kind until the interpreter has ended: ``keepers.py <holder> <folder>``."""

import builtins
import codecs
import ctypes
import gc
import pickle
import sys
import threading

import numpy as np

import pardata
from pardata.files import split


def same(value):
    return value


def numbers():
    for _ in range(300):
        yield np.ones(10_000)


def begun(engine):
    """A loop over a run, and a run, each after its first item."""
    stream = pardata.source(numbers).map(np.sqrt)
    loop = iter(stream) if engine == "processes" else (item for item in stream.iterate(engine=engine))
    run = stream.iterate(engine=engine)
    return [(made, next(made)) for made in (loop, run)]


def paged(path):
    with pardata.PagedFile.create(path, dtype=int) as writer:
        writer.extend(np.arange(300_000))
    file = pardata.PagedFile(path)
    return file, file[3], iter(file)


def unfinished(path):
    writer = pardata.PagedFile.create(path, dtype=int)
    writer.extend(np.arange(300_000))
    return writer


def descriptor():
    block = pardata.SharedMemory(create=True, size=100)
    block.fileno()
    return block


def everything(folder):
    yield list(pardata.source([np.ones(10_000)] * 3).map(np.sqrt))
    yield from map(begun, ("processes", "threads", "serial"))
    pool = pardata.WorkerPool(1)
    results = pool.map(same, range(100))
    yield pool, results, next(results), pool.map_array(np.sqrt, np.ones(100_000)), pool.submit(same, np.ones(10_000))
    yield pardata.WorkerPool(1, kind="thread")
    yield pardata.Pool(1)
    queue = pardata.Queue()
    queue.put(np.ones(10_000))
    yield queue, queue.get(), pardata.Queue()
    table = pardata.Table([1, 2], [3, 4])
    opened = pickle.loads(pickle.dumps(table))
    yield table, opened, opened[1], iter(table)
    database = pardata.Database.create(f"{folder}/a.db", {1: 2, 3: 4})
    rows = iter(database)
    yield database, database[1], rows, next(rows)
    yield pardata.Writer(f"{folder}/w.db", ["a"])
    server = pardata.serve(table)
    service = server.lookup()
    yield server, service, service[1]
    yield paged(f"{folder}/whole"), unfinished(f"{folder}/begun"), split(np.arange(1000), 3)
    yield descriptor(), pardata.ShareableList([1, "a"])
    manager = pardata.SharedMemoryManager()
    manager.start()
    yield manager, manager.array(np.arange(10))
    array = pardata.zeros(100_000)
    yield array, array[3:], pickle.loads(pickle.dumps(array))


class Cycle:
    pass


kept = []


def keep(holder, thing):
    if holder == "a variable":
        kept.append(thing)
    elif holder == "another package":
        np.kept = [*getattr(np, "kept", []), thing]
    elif holder == "builtins":
        builtins.kept = [*getattr(builtins, "kept", []), thing]
    elif holder == "a cycle":
        gc.disable()
        cycle = Cycle()
        cycle.itself, cycle.thing = cycle, thing
    elif holder == "a thread":
        local = threading.local()
        local.thing = thing
        threading.Thread(target=lambda: (thing, threading.Event().wait()), daemon=True).start()
        kept.append(local)
    elif holder == "the interpreter":
        codecs.register(lambda name, kept=thing: None)
    else:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if __name__ == "__main__":
    for each in everything(sys.argv[2]):
        keep(sys.argv[1], each)
    print("the end")
