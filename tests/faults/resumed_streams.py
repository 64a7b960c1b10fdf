"""Streams that are interrupted and go on: graphs, stages and sinks; used by tests and by `random_resumes`."""

import contextlib
import os
import sqlite3
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import pardata

ITEMS = 40
KINDS = (".npy", ".zarr", ".txt", ".any", ".begun", ".db")


class Repairable:
    """Doubles a number, and notes that it was called; fails at `bad` until somebody has repaired it."""

    def __init__(self, folder, bad=None):
        self.folder, self.bad = folder, bad

    def __call__(self, number):
        if number == self.bad and not os.path.exists(f"{self.folder}/repaired"):
            raise ValueError("not yet")
        with open(f"{self.folder}/calls", "a") as calls:
            calls.write(f"{number}\n")
        return 2 * number


def calls_in(folder):
    path = Path(folder, "calls")
    return [int(line) for line in path.read_text().split()] if path.exists() else []


class Running:
    """The running sum of the items: a filter with a state."""

    def __init__(self):
        self.total = 0

    def __call__(self, items):
        for item in items:
            self.total += item
            yield self.total

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state


class Lines:
    """A sink that writes lines, and can say where it is."""

    def __init__(self, path):
        self.path = path

    def open(self):
        self.file = open(self.path, "ab")  # noqa: SIM115

    def restore(self, state):
        self.file.truncate(state or 0)

    def __call__(self, item):
        self.file.write(f"{item}\n".encode())

    def commit(self):
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.stat(self.path).st_size

    def close(self):
        self.file.close()


def add(total, item):
    return total + item


def row(items):
    return np.array(items, float)


def wide(values):
    return np.repeat(values, 15_000)  # 6 rows are a chunk of a new file


def wide_row(number):
    return np.full(300_000, float(number))  # more than half of a chunk of a new file


def is_no_third(number):
    return number % 3 != 0


def numbers():
    yield from range(ITEMS)


def chain(source, work, folder):
    return [source.map(work, workers=2).filter(is_no_third).to(f"{folder}/a.npy")]


def regrouped(source, work, folder):
    made = source.map(work).skip(3).batch(4).unbatch().window(3, step=2).map(row).enumerate(5).starmap(np.multiply)
    return [made.take(12).to(f"{folder}/a.npy")]


def folded(source, work, folder):
    clean = source.map(work, chunksize=5).filter(is_no_third)
    return [clean.reduce(add, 0).to(f"{folder}/a.npy"), clean.batch(4, drop_last=True).map(row).to(f"{folder}/b.npy")]


def joined(source, work, folder):
    made = source.map(work)
    pairs = pardata.zip(made.map(np.sqrt, workers=2), made.filter(is_no_third)).map(row)
    even, odd = made.partition(lambda number: number // 2, 2)
    woven = pardata.merge(even.map(lambda number: -number), odd, policy="ordered")
    return [pairs.to(f"{folder}/a.npy"), (woven | Running()).to(f"{folder}/b.npy")]


def written(source, work, folder):
    made = source.map(work, workers=2)
    return [made.flat_map(range).filter(is_no_third).to(Lines(f"{folder}/a.txt")), made.to(f"{folder}/b.npy")]


def more(begin):
    return pardata.source(range(begin, begin + ITEMS))


def in_a_row(source, work, folder):
    sums = source.map(work, workers=2).batch(3).map(sum)
    made = pardata.concat(sums, more(100) | Running(), more(200).filter(is_no_third))
    return [made.to(f"{folder}/a.npy"), made.take(70).batch(2).to(Lines(f"{folder}/b.txt"))]


def in_turn(source, work, folder):
    short = pardata.source(range(500, 510))
    sums = more(100).filter(is_no_third) | Running()
    made = pardata.merge(short, source.map(work, workers=2), sums, policy="round_robin")
    return [(made | Running()).to(f"{folder}/a.npy"), short.reduce(add, 0).to(f"{folder}/b.npy")]


def paired(source, work, folder):
    sums = more(100).window(3).map(sum)
    pairs = pardata.zip(source.map(work).filter(is_no_third).take(25), sums.take(25), by="position")
    return [pairs.map(row).to(f"{folder}/a.npy"), sums.to(Lines(f"{folder}/b.txt"))]


def mixed(source, work, folder):
    """Several sources by arrival, one of them twice: the items come in any order."""
    made = source.map(work)
    twice = pardata.merge(made.map(lambda number: -3 * number, workers=2), made, more(1000) | Running())
    fair = pardata.merge(twice, more(100), policy="fair")
    return [twice.reduce(add, 0).to(f"{folder}/a.npy"), fair.to(Lines(f"{folder}/b.any"))]


def stored(source, work, folder):
    """A new Zarr array, and one that is there: of chunks and shards that are full at other moments than a cut."""
    import zarr

    path = f"{folder}/b.zarr"
    if not os.path.exists(f"{path}/zarr.json"):
        zarr.create_array(path, shape=(ITEMS, 6), chunks=(2, 3), shards=(8, 6), dtype="f8")
    array = zarr.open_array(path, mode="r+")
    rows = source.map(work, workers=2).map(lambda number: np.full(6, number, float))
    return [rows.map(wide).to(f"{folder}/a.zarr"), rows.to(array)]


def grown(source, work, folder):
    """A new Zarr array of few rows: of chunks that are one row."""
    return [source.map(work).map(wide_row).to(f"{folder}/a.zarr")]


def tabled(source, work, folder):
    """A database that is there: what is put again takes the place of what was put before."""
    writer = pardata.Writer(f"{folder}/a.db", ["id", "twice"], key="id")
    rows = source.map(work, workers=2).filter(is_no_third).enumerate()
    return [rows.batch(3).to(writer.put, kind="thread"), rows.starmap(add).to(f"{folder}/b.npy")]


GRAPHS = [chain, regrouped, folded, joined, written, in_a_row, in_turn, paired, mixed, tabled]
GRAPHS += [stored] if find_spec("zarr") else []


def saved(folder):
    os.makedirs(f"{folder}/in", exist_ok=True)
    if not os.path.exists(f"{folder}/in/source.npy"):
        np.save(f"{folder}/in/source.npy", np.arange(ITEMS))
    return f"{folder}/in/source.npy"


def chunked(folder):
    import zarr

    if not os.path.exists(f"{folder}/in"):
        zarr.create_array(f"{folder}/in", data=np.arange(ITEMS), chunks=(7,))
    return zarr.open_array(f"{folder}/in")


SOURCES = {
    "range": lambda folder: range(ITEMS),
    "list": lambda folder: list(range(ITEMS)),
    "array": lambda folder: np.arange(ITEMS),
    "generator function": lambda folder: numbers,
    ".npy": saved,
} | ({"Zarr": chunked} if find_spec("zarr") else {})


def run(graph, folder, work, engine, items=range(ITEMS), **options):
    ends = graph(pardata.source(items), work, folder)
    try:
        return pardata.run(*ends, engine=engine, seed=5, **options)
    finally:
        close_writers(ends)


def close_writers(ends):
    for end in ends:
        writer = getattr(end._node.fn, "__self__", None)
        if isinstance(writer, pardata.Writer):
            writer.close()


def outputs(folder):
    """The contents of all files that a run has written; of one with its lines in any order, those in one."""
    ends = [path for path in Path(folder).iterdir() if path.suffix in KINDS]
    files = [path for end in ends for path in [end, *end.rglob("*")] if path.is_file()]
    left = [path for path in files if path.suffix == ".partial" and "b.zarr" in path.parts]  # zarr's, after a kill
    made = {str(path.relative_to(folder)): contents(path) for path in files if path not in left}
    return {name: sorted(data.split()) if name.endswith(".any") else data for name, data in made.items()}


def contents(path):
    if path.suffix != ".db":
        return path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM data ORDER BY 1").fetchall()


def expected(graph, folder, items=range(ITEMS)):
    """The files of an undisturbed run without a checkpoint."""
    os.makedirs(folder)
    ends = graph(pardata.source(items), Repairable(folder), folder)
    for end in ends:
        if isinstance(end._node.fn, Lines):
            sink = Lines(end._node.fn.path)
            sink.open()
            for item in pardata.Stream(end._node.inputs[0]).iterate(engine="serial"):
                sink(item)
            sink.close()
        else:
            end.run(engine="serial")
    close_writers(ends)
    return outputs(folder)
