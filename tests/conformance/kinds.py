"""Objects of many kinds, and what of them must not change on the way."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import importlib
import mmap
import os
import re
import socket
import sqlite3
import tempfile
import threading
import uuid
from pathlib import PurePosixPath

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import pardata
from pardata.memory.shared_array import is_array

SMALL, LARGE = 60, 6000


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Box:
    """Holds something, as an attribute."""

    value: object


class Holder:
    """Holds something, as a library's object does: nobody else knows where."""

    def __init__(self, held):
        self.held = held


Pair = collections.namedtuple("Pair", "first second")


class Tagged(np.ndarray):
    """As NumPy's documentation makes a subclass with an attribute, that travels with its pickle."""

    def __array_finalize__(self, parent):
        self.tag = getattr(parent, "tag", None)

    def __reduce__(self):
        make, arguments, state = super().__reduce__()
        return make, arguments, (state, self.tag)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self.tag = state[1]


def tagged():
    made = np.arange(LARGE * 1.0).view(Tagged)
    made.tag = {"unit": "m"}
    return made


def table_array(dtype):
    return np.arange(LARGE).astype("i8").view(np.uint8)[: LARGE - LARGE % np.dtype(dtype).itemsize].view(dtype)


def with_metadata(n):
    return np.zeros(n, np.dtype("u1", metadata={"enum": {"RED": 0}}))


def masked(**options):
    data = np.arange(LARGE * 1.0)
    return np.ma.masked_array(data, data % 3 == 0, fill_value=-1, **options)


def memmap():
    path = os.path.join(tempfile.gettempdir(), f"pardata-faithful-{os.getuid()}.npy")
    if not os.path.exists(path):
        np.save(path, np.arange(LARGE * 1.0).reshape(60, 100))
    return np.load(path, mmap_mode="r")


def twice():
    array = np.arange(LARGE * 1.0)
    return [array, {"again": array}]


def of(module, make):
    """Return a maker that imports its library; raises ImportError if that is not there."""
    return lambda: make(importlib.import_module(module))


TEXT_FILE, BINARY_FILE = open(__file__, encoding="utf-8"), open(__file__, "rb")  # noqa: SIM115


def text_file():
    return TEXT_FILE


def binary_file():
    return BINARY_FILE


@functools.cache  # not where the module is imported, as in workers: they would leave one each
def temporary_file():
    return tempfile.NamedTemporaryFile("w+")


RNG = np.random.default_rng(0)
NUMBERS = RNG.random(LARGE)

KINDS = {
    "int beyond 64 bits": lambda: 1 << 200,
    "float: NaN and -0.0": lambda: (float("nan"), -0.0),
    "complex": lambda: 1 + 2j,
    "None, True": lambda: (None, True),
    "str with any character": lambda: "ä\0\U0001f600",
    "bytes": lambda: b"\0\xff" * 20,
    "bytearray": lambda: bytearray(b"abc"),
    "Decimal, Fraction": lambda: (decimal.Decimal("0.10"), fractions.Fraction(1, 3)),
    "datetime with a zone": lambda: datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),  # noqa: UP017
    "timedelta, date": lambda: (datetime.timedelta(1, 2, 3), datetime.date(2020, 1, 1)),
    "Enum": lambda: Color.RED,
    "range, slice": lambda: (range(1, 9, 2), slice(1, None)),
    "set, frozenset": lambda: ({1}, frozenset({2})),
    "OrderedDict, deque": lambda: (collections.OrderedDict(a=1), collections.deque([1], 5)),
    "namedtuple": lambda: Pair(1, "x"),
    "dataclass": lambda: Box([1, 2]),
    "UUID, path, pattern": lambda: (uuid.UUID(int=5), PurePosixPath("/a"), re.compile("a+")),
    "exception": lambda: ValueError("why", 3),
    "partial of a function": lambda: functools.partial(int, base=2),
    "NumPy scalars": lambda: (np.float32(1.5), np.datetime64(5, "s"), np.bool_(True)),
    "array, small": lambda: np.arange(SMALL * 1.0),
    "array, large": lambda: np.arange(LARGE * 1.0),
    "array without entries": lambda: np.zeros((0, 3), "f4"),
    "array without axes": lambda: np.array(5),
    "Fortran order, small": lambda: np.asfortranarray(np.arange(SMALL).reshape(6, 10)),
    "Fortran order, large": lambda: np.asfortranarray(np.arange(LARGE).reshape(60, 100)),
    "axes in another order, small": lambda: np.arange(SMALL).reshape(3, 4, 5).transpose(1, 0, 2),
    "axes in another order, large": lambda: np.arange(LARGE).reshape(3, 40, 50).transpose(1, 0, 2),
    "every second entry": lambda: np.arange(2 * LARGE)[::2],
    "backwards": lambda: np.arange(LARGE)[::-1],
    "sliding_window_view": lambda: sliding_window_view(np.arange(LARGE * 1.0), 50),
    "broadcast_to": lambda: np.broadcast_to(np.arange(50.0), (1000, 50)),
    "one array twice": twice,
    "big-endian, small": lambda: np.arange(SMALL, dtype=">f8"),
    "big-endian, large": lambda: np.arange(LARGE, dtype=">i4"),
    "float16": lambda: np.arange(LARGE).astype("f2"),
    "longdouble": lambda: np.arange(LARGE).astype(np.longdouble) / 3,
    "complex64": lambda: (np.arange(LARGE) * 1j).astype("c8"),
    "bool": lambda: np.arange(LARGE) % 3 == 0,
    "text": lambda: np.array([f"ä{i}" for i in range(SMALL)]),
    "bytes of fixed length": lambda: np.array([b"x%d" % i for i in range(LARGE)]),
    "datetime64, NaT": lambda: np.where(np.arange(LARGE) % 2, np.datetime64("NaT", "ns"), np.datetime64(1, "ns")),
    "timedelta64 of weeks": lambda: np.arange(LARGE).astype("m8[3W]"),
    "structured": lambda: np.zeros(LARGE, [("a", "i4"), ("b", "U3", (2,))]),
    "structured, aligned": lambda: np.zeros(LARGE, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "structured, with titles": lambda: np.zeros(9, [(("title", "a"), "i4")]),
    "void": lambda: table_array("V8"),
    "dtype with metadata, small": lambda: with_metadata(9),
    "dtype with metadata, large": lambda: with_metadata(40_000),
    "array of objects": lambda: np.array([{"a": 1}, None, "x"], object),
    "StringDType": lambda: np.array(["a", "b" * 50], np.dtypes.StringDType()),
    "pardata.array": lambda: pardata.array(np.arange(LARGE * 1.0)),
    "memmap": memmap,
    "row of a memmap": lambda: memmap()[5],
    "matrix": lambda: np.arange(LARGE).reshape(60, 100).view(np.matrix),
    "recarray": lambda: np.rec.fromarrays([np.arange(LARGE), np.arange(LARGE) / 2], names="a,b"),
    "masked array": masked,
    "masked array, nothing masked": lambda: np.ma.masked_array(np.arange(LARGE)),
    "masked array, hard mask": lambda: masked(hard_mask=True),
    "masked structured": lambda: np.ma.masked_array(np.zeros(3, "i4,f8"), [(0, 1)] * 3),
    "masked, under it a subclass": lambda: np.ma.masked_array(tagged(), np.arange(LARGE) % 3 == 0),
    "subclass with an attribute": tagged,
    "subclass, big-endian": lambda: tagged().astype(">f8"),
    "record, big-endian": lambda: np.ones(3, [("a", ">f8", (2,)), ("b", "U3")])[1],
    "scipy.sparse": of("scipy.sparse", lambda m: m.csr_matrix(np.eye(500))),
    "Generator of random numbers": lambda: np.random.default_rng(5),
    "PIL.Image": of("PIL.Image", lambda m: m.fromarray(np.zeros((200, 200), np.uint8))),
    "networkx.Graph": of("networkx", lambda m: m.path_graph(5)),
    "pandas.DataFrame": of("pandas", lambda m: m.DataFrame({"a": NUMBERS, "b": ["x"] * LARGE})),
    "pandas, nullable integers": of("pandas", lambda m: m.Series([1, None, 2**53 + 1], dtype="Int64")),
    "pandas.Categorical": of("pandas", lambda m: m.Categorical(["a", "b", "a"])),
    "polars.DataFrame": of("polars", lambda m: m.DataFrame({"a": [1, None, 2**53 + 1]})),
    "pyarrow.Table": of("pyarrow", lambda m: m.table({"a": NUMBERS, "b": ["x"] * LARGE})),
    "xarray.DataArray": of(
        "xarray", lambda m: m.DataArray(NUMBERS.reshape(60, 100), dims=("y", "x"), attrs={"u": "K"})
    ),
    "astropy Quantity": of("astropy.units", lambda m: NUMBERS * m.m / m.s),
    "astropy Time": of("astropy.time", lambda m: m.Time("2020-01-01")),
    "unyt_array": of("unyt", lambda m: m.unyt_array(NUMBERS, "km")),
    "bfloat16": of("ml_dtypes", lambda m: np.arange(LARGE).astype(m.bfloat16)),
    "float8_e4m3fn, small": of("ml_dtypes", lambda m: np.arange(SMALL).astype(m.float8_e4m3fn)),
    "int4": of("ml_dtypes", lambda m: (np.arange(LARGE) % 7).astype(m.int4)),
    "open text file": text_file,
    "open binary file": binary_file,
    "temporary file": temporary_file,
    "socket": lambda: _closed(socket.socket()),  # Python warns of one that is left open
    "mmap": lambda: _closed(mmap.mmap(-1, 10)),
    "lock": threading.Lock,
    "generator": lambda: (i for i in range(3)),
    "database connection": lambda: _closed(sqlite3.connect(":memory:")),
}


def _closed(obj):
    obj.close()
    return obj


def facts(obj):
    """Return what must be the same, as something that can be compared."""
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if isinstance(obj, np.ndarray):
        return _facts_of_array(obj)
    if isinstance(obj, np.void):
        return kind, repr(obj.dtype), obj.tobytes()
    if isinstance(obj, tuple | list | collections.deque) and not hasattr(obj, "_fields"):
        arrays = [id(part) for part in obj if isinstance(part, np.ndarray)]
        arrays += [id(part) for one in obj if isinstance(one, dict) for part in one.values()]
        return kind, [facts(part) for part in obj], [arrays.index(one) for one in arrays]
    if isinstance(obj, dict):
        return kind, [(key, facts(value)) for key, value in obj.items()]
    if isinstance(obj, Box | Holder):
        return kind, facts(*vars(obj).values())
    special = next((look for name, look in SPECIAL.items() if kind.startswith(name)), repr)
    return kind, special(obj)


SPECIAL = {
    "scipy.sparse": lambda obj: (obj.dtype.str, obj.toarray().tobytes()),
    "numpy.random": lambda obj: repr(obj.bit_generator.state),
    "PIL": lambda obj: (obj.mode, obj.tobytes()),
    "networkx": lambda obj: list(obj.edges),
    "xarray": lambda obj: (obj.attrs, obj.dims, facts(obj.values)),
    "pandas": lambda obj: (str(obj), repr(getattr(obj, "dtypes", None)), [str(value) for value in obj]),
    "pyarrow": lambda obj: (repr(obj.schema), obj.to_pylist()),
    **dict.fromkeys(
        ("_thread", "builtins.generator", "sqlite3", "_io", "tempfile", "socket", "mmap"), lambda obj: None
    ),
}
OF_FILE = ("filename", "mode")


def _values(flat):
    """Return the values of an array without the bytes that say nothing."""
    if flat.dtype.names and not flat.dtype.hasobject:
        return [_values(np.ascontiguousarray(flat[name])) for name in flat.dtype.names]
    return repr(flat.tolist()) if flat.dtype.hasobject or flat.dtype == np.longdouble else flat.tobytes()


def _facts_of_array(array):
    plain = np.asarray(array.view(np.ndarray))
    kind = np.ndarray if is_array(array) else type(array)
    laid_out = plain.copy(order="K")
    found = {"type": kind.__name__, "dtype": repr(array.dtype), "metadata": repr(array.dtype.metadata)}
    found |= {"shape": array.shape, "order": (laid_out.flags.c_contiguous, laid_out.flags.f_contiguous)}
    for order in "CK":
        flat = plain.ravel(order=order)
        found[f"values in order {order}"] = _values(flat)
    if kind is not np.recarray:  # there these would be columns
        names = ("unit", "units", "tag", "hardmask", "fill_value", *OF_FILE)
        found |= {name: repr(getattr(array, name, None)) for name in names}
    if isinstance(array, np.ma.MaskedArray):
        found["mask"] = array.mask is np.ma.nomask, array.mask.tobytes()
        found["under it"] = type(array.data).__name__, repr(getattr(array.data, "tag", None))
    return found


def arrays_in(obj, is_held=False):
    """Yield the arrays of an object, and whether only another object knows them."""
    if isinstance(obj, np.ma.MaskedArray):
        yield obj.view(np.ndarray), is_held
        if obj.mask is not np.ma.nomask:
            yield obj._mask, is_held
    elif isinstance(obj, np.ndarray):
        yield obj, is_held
    elif isinstance(obj, tuple | list | dict):
        for part in obj.values() if isinstance(obj, dict) else obj:
            yield from arrays_in(part, is_held)
    elif isinstance(obj, Box | Holder) or type(obj).__module__.startswith("scipy"):
        for part in vars(obj).values():
            yield from arrays_in(part, is_held or not isinstance(obj, Box))


def writability(obj):
    """Return for each array of an object whether it can be written to."""
    return [bool(array.flags.writeable) for array, _ in arrays_in(obj)]


def without_file(found):
    """Return facts without the name of the file that an array lies in."""
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if key not in OF_FILE}
    return tuple(map(without_file, found)) if isinstance(found, tuple | list) else found
