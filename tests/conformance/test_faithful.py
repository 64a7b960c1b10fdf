"""What arrives is what was sent, or it is refused: every kind of object on every route, on every engine.

`python -m tests.conformance.test_faithful` writes the table into docs/faithful.md.
"""

import contextlib
import warnings
from pathlib import Path

import pytest

import pardata
from pardata.codec.by_value import INLINE_BYTES
from pardata.memory.layout import held_bytes, is_overlapping
from tests.conformance.kinds import KINDS, Box, Holder, arrays_in, facts, without_file, writability

ENGINES = ["processes", "threads", "serial"]
WRAPS = {"item": lambda x: x, "in a container": lambda x: {"x": x, "y": (1, Box(x))}, "in an object": Holder}
PAGE = Path(__file__).parents[2] / "docs" / "faithful.md"
SAME, COPY = "same", "same, copied"


def made(place):
    """Make an object in a worker: a stage hands it on."""
    kind, wrap = place
    return place, WRAPS[wrap](KINDS[kind]())


def looked_at(pair):
    """Look at it in the next worker, and hand it on."""
    place, obj = pair
    return place, facts(obj), writability(obj), obj


class Keeper:
    """A stage with objects of all kinds as its state."""

    def __init__(self, kept):
        self.kept = kept

    def __call__(self, name):
        return name, facts(self.kept[name]), writability(self.kept[name])


def looked_at_alone(obj):
    return facts(obj), obj


def verdict(kind, wrap, *found):
    """Return what a cell says: `found` are facts, or an error."""
    wanted = facts(WRAPS[wrap](KINDS[kind]()))
    for one in found:
        if isinstance(one, BaseException):
            return "refused"
        if one != wanted and without_file(one) == without_file(wanted):
            return COPY
        if one != wanted:
            return f"changed: {wanted} -> {one}"
    return SAME


def kinds():
    """Return the names of the kinds whose libraries are here."""
    names = []
    for name, make in KINDS.items():
        try:
            make()
        except ImportError:
            continue
        names.append(name)
    return names


def streamed(names, engine):
    """Return the cells of a stream: objects that a stage makes, that the next looks at, and that come out."""
    cells = {(name, wrap): "refused" for name in names for wrap in WRAPS}
    stream = pardata.source(list(cells)).map(made, errors="skip").map(looked_at)
    run = stream.iterate(engine=engine)
    flags = {}
    for (name, wrap), seen, can_write, obj in run:
        cells[name, wrap] = verdict(name, wrap, seen, facts(obj))
        flags[name, wrap] = can_write, writability(obj)
    return cells, flags


def kept(names, engine):
    """Return what a stage has of its own: (where, kind) -> facts and writability."""
    held, captured = ({name: KINDS[name]() for name in names if name not in REFUSED} for _ in "ab")
    source = pardata.source(list(held))
    both = pardata.zip(source.map(Keeper(held)), source.map(lambda name: Keeper(captured)(name)))
    run = both.iterate(engine=engine)
    return {(where, found[0]): found[1:] for pair in run for where, found in zip(STATES, pair, strict=True)}


def called(name, route):
    """Return the cell of a route that is a call."""
    try:
        found = route(KINDS[name]())
    except Exception as error:
        return verdict(name, "item", error)
    return verdict(name, "item", *found)


def in_pool(pool):
    """Return the routes through a pool."""
    return {
        "argument": lambda obj: both(pool.submit(looked_at_alone, obj).result()),
        "captured": lambda obj: both(pool.submit(lambda: looked_at_alone(obj)).result()),
        "map item": lambda obj: both(next(iter(pool.map(looked_at_alone, [obj])))),
    }


def both(pair):
    return pair[0], facts(pair[1])


def queued(obj):
    queue = pardata.Queue()
    try:
        queue.put(obj)
        return [facts(queue.get())]
    finally:
        queue.close()


def by_joblib(obj):
    from joblib import Parallel, delayed, parallel_config

    pardata.register_joblib()
    with parallel_config(backend="pardata", n_jobs=2):
        return both(Parallel()([delayed(looked_at_alone)(obj)])[0])


def shared(names):
    """Return the cells of `shared=`: what can be goes to one pool, what is refused is tried by itself."""
    cells = {}
    for name in set(REFUSED) & set(names):
        cells[name] = called(name, lambda obj: pardata.WorkerPool(1, shared={"x": obj}).shutdown())
    sent = {name: KINDS[name]() for name in names if name not in REFUSED}
    with pardata.WorkerPool(1, shared=sent) as pool:
        for name in sent:
            seen, obj = pool.submit(lambda name: looked_at_alone(pardata.worker().shared[name]), name).result()
            cells[name] = verdict(name, "item", seen, facts(obj))
    return cells


STATES = ("state", "captured")
REFUSED = (
    "open text file", "open binary file", "temporary file", "socket", "mmap", "lock", "generator",
    "database connection",
)  # fmt: skip
ROUTES = ("argument", "captured", "map item", "shared=", "Queue", "joblib", "Pool")


def table(names, tables):
    """Return kind -> column -> cell."""
    rows = {name: {} for name in names}
    streams = {engine: cells for engine, (cells, _) in tables.items()}
    for name in names:
        for wrap in WRAPS:
            found = {engine: streams[engine][name, wrap] for engine in ENGINES}
            rows[name][wrap] = found["processes"] if len(set(found.values())) == 1 else _differing(found)
    for name, cell in shared(names).items():
        rows[name]["shared="] = cell
    with pardata.WorkerPool(1) as pool:
        for name in names:
            rows[name] |= {route: called(name, call) for route, call in in_pool(pool).items()}
    with pardata.Pool(1) as pool:
        for name in names:
            rows[name]["Pool"] = called(name, lambda obj: both(pool.apply(looked_at_alone, (obj,))))
    for name in names:
        rows[name] |= {"Queue": called(name, queued), "joblib": called(name, by_joblib)}
    return rows


def _differing(found):
    if found == {"processes": "refused", "threads": SAME, "serial": SAME}:
        return "refused; itself in threads"
    return str(found)


def lines(rows):
    """Return the table as it stands in the page."""
    columns = (*WRAPS, *ROUTES)
    return [f"| {name} | " + " | ".join(row[column] for column in columns) + " |" for name, row in rows.items()]


def head():
    columns = (*WRAPS, *ROUTES)
    return ["| kind | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]


@pytest.fixture(scope="module")
def tables():
    """Return what streams on each engine show: one run each."""
    return {engine: streamed(kinds(), engine) for engine in ENGINES}


def test_what_arrives_is_what_was_sent_or_it_is_refused(tables):
    try:
        rows = table(kinds(), tables)
    finally:
        pardata.shutdown()  # of joblib's backend
    for name, row in rows.items():
        for column, cell in row.items():
            assert cell in (SAME, COPY, "refused", "refused; itself in threads"), f"{name}, {column}: {cell}"
    printed = PAGE.read_text().splitlines()
    missing = [line for line in lines(rows) if line not in printed]
    assert not missing, f"docs/faithful.md says otherwise: run {__spec__.name}"


def own_by_rule(name, wrap):
    """Return for each array of an object whether the rule makes it its reader's own, and so writable."""
    obj = WRAPS[wrap](KINDS[name]())
    return [
        (is_held or held_bytes(array) < INLINE_BYTES or not array.size) and not is_overlapping(array)
        for array, is_held in arrays_in(obj)
    ]


def test_whose_array_it_is(tables):
    """Large bare arrays are read-only, all others the reader's own; a mapped file stays as it was opened."""
    names = [name for name in kinds() if name not in REFUSED]
    found = {engine: tables[engine][1] for engine in ENGINES}
    for name in names:
        for wrap in WRAPS:
            by_engine = {engine: found[engine][name, wrap] for engine in ENGINES}
            assert by_engine["threads"] == by_engine["serial"] == by_engine["processes"], (name, wrap, by_engine)
            wanted = [False] * len(by_engine["serial"][0]) if "memmap" in name else own_by_rule(name, wrap)
            assert by_engine["serial"][0] == wanted, (name, wrap)


def test_state_of_a_stage_is_its_own_unless_it_is_frozen():
    names = [name for name in kinds() if name != "pardata.array"]  # that one is shared memory, and its workers read it
    found = {engine: kept(names, engine) for engine in ENGINES}
    assert found["threads"] == found["serial"]
    assert found["processes"] == found["serial"]
    for where, name in found["serial"]:
        assert found["serial"][where, name][1] == writability(KINDS[name]()), (where, name)


WAYS = {
    "open text file": "send its path",
    "open binary file": "send its path",
    "temporary file": "send its path",
    "mmap": "or a numpy.memmap",
    "socket": "send the address",
    "generator": "send its items, as a list",
    "lock": "cannot pickle '_thread.lock' object",
}


def test_what_is_refused_is_named_with_a_way_out():
    with pardata.WorkerPool(1) as pool, contextlib.closing(pardata.Queue()) as queue:
        for name, way in WAYS.items():
            with pytest.raises(pardata.SerializationError, match=f"cannot be pickled.*{way}"):
                pool.submit(looked_at_alone, [KINDS[name]()]).result()
            if name != "socket":  # queues hand those on as multiprocessing does
                with pytest.raises(pardata.SerializationError, match=f"put into a queue.*{way}"):
                    queue.put([KINDS[name]()])


def write_page():
    """Write the table into the page."""
    text = PAGE.read_text()
    begin, end = "<!-- made by tests.conformance.test_faithful -->\n", "<!-- until here -->"
    before, rest = text.split(begin)
    made_of = "\n".join(
        [*head(), *lines(table(list(KINDS), {engine: streamed(list(KINDS), engine) for engine in ENGINES}))]
    )
    PAGE.write_text(f"{before}{begin}{made_of}\n{end}{rest.split(end, 1)[1]}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write_page()
