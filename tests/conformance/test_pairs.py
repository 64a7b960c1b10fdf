"""`zip(..., by="position")` pairs independent sources: on every engine, whatever falls out of them."""

import itertools

import numpy as np
import pytest

import pardata

ENGINES = ["serial", "threads", "processes"]
COUNT = 120


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def images():
    for number in range(COUNT):
        yield np.full(3000, number)


def refuse_sevenths(mask):
    if mask % 7 == 3:
        raise ArithmeticError
    return mask


def longer():
    yield from range(COUNT + 1)


def streams():
    return pardata.source(images), pardata.source(range(1000, 1000 + COUNT), name="masks")


def plain():
    return pardata.zip(*streams(), by="position")


def with_losses():
    left, right = streams()
    left = left.map(np.negative, workers=2, ordered=False, chunksize=1).filter(lambda image: image[0] % 2)
    return pardata.zip(left, right.map(refuse_sevenths, errors="skip", chunksize=11), by="position")


def of_three():
    return pardata.zip(*streams(), pardata.source(longer).skip(1).batch(1).unbatch(), by="position").map(list)


def read_further():
    pairs = plain().map(lambda pair: (pair[0], pair[1] + 1), workers=2)
    return pardata.zip(pairs, pairs.map(lambda pair: pair[1]).filter(lambda mask: mask % 3))


def flat(item):
    return (
        int(item[0])
        if isinstance(item, np.ndarray)
        else [flat(part) for part in item]
        if isinstance(item, tuple | list)
        else item
    )


NUMBERS = range(COUNT)
EXPECTED = {
    plain: [[number, 1000 + number] for number in NUMBERS],
    with_losses: [[-number, 1000 + number] for number in NUMBERS if number % 2 and (1000 + number) % 7 != 3],
    of_three: [[number, 1000 + number, number + 1] for number in NUMBERS],
    read_further: [[[number, 1001 + number], 1001 + number] for number in NUMBERS if (1001 + number) % 3],
}


def test_pairs(engine):
    found = {make: [] for make in EXPECTED}
    pardata.run(*[make().to(found[make]) for make in EXPECTED], engine=engine)
    assert {make: list(map(flat, items)) for make, items in found.items()} == EXPECTED


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (lambda: pardata.source(images), lambda: pardata.source(longer), "'images' 120, 'longer' 121 "),
        (lambda: pardata.source(longer), lambda: pardata.source(images), "'longer' 121, 'images' 120 "),
        (
            lambda: pardata.source(itertools.count(), name="endless"),
            lambda: pardata.source(longer).filter(lambda number: number < 5),
            r"'endless' more than \d+, 'lambda' 121 ",
        ),
        (
            lambda: pardata.source(longer).take(0),
            lambda: pardata.source(longer),
            r"'take\(0\)' 0, 'longer-2' more than ",
        ),
    ],
)
def test_uneven_ends_are_an_error_with_the_counts(engine, left, right, words):
    with pytest.raises(pardata.LossError, match=words) as caught:
        pardata.zip(left(), right(), by="position").run(engine=engine)
    assert "take(n)" in str(caught.value)


def test_known_counts_are_compared_before_anything_starts():
    _, right = streams()
    with pytest.raises(pardata.PlanError, match="'abs' 121, 'masks' 120: cut the longer one off with take"):
        pardata.zip(pardata.source([1] * 121).map(abs), right, by="position").run()
    assert len(list(pardata.zip(pardata.source([1] * 121).take(COUNT), right, by="position"))) == COUNT


@pytest.mark.parametrize(
    "name, make",
    [
        ("batch(50)", lambda numbers: numbers.batch(50)),
        ("batch(40)", lambda numbers: numbers.batch(40, drop_last=True)),
        ("window(7, 50)", lambda numbers: numbers.window(7, 50)),
        ("skip(118)", lambda numbers: numbers.take(500).map(abs).skip(118).enumerate()),
        ("enumerate", lambda numbers: numbers.take(2).enumerate().filter(lambda pair: pair[0])),
        ("take(1)", lambda numbers: numbers.skip(119).take(1)),
        ("total", lambda numbers: numbers.reduce(lambda total, number: total, 0, name="total")),
    ],
)
def test_what_filters_make_is_counted_before_anything_starts(name, make):
    stream = make(pardata.source(range(COUNT)))
    made = len(list(stream.iterate(engine="serial"))) + (name == "enumerate")
    assert list(pardata.zip(stream, pardata.source(range(made)), by="position").iterate(engine="serial"))
    with pytest.raises(pardata.PlanError, match=f" {made}, 'source-2' {made + 1}: cut"):
        pardata.zip(stream, pardata.source(range(made + 1)), by="position").run()


def test_what_filters_make_of_an_unknown_number_is_not_known():
    for dropping in (lambda numbers: numbers.filter(bool), lambda numbers: numbers.map(refuse_sevenths, errors="skip")):
        stream = dropping(pardata.source(range(4))).batch(1)
        assert len(list(pardata.zip(stream, pardata.source(range(3)), by="position").iterate(engine="serial"))) == 3


@pytest.mark.parametrize("name", ["rows.npy", "rows.h5"])
def test_rows_of_a_file_are_counted_before_anything_starts(engine, tmp_path, name):
    rows = np.zeros((3, 2))
    if name == "rows.npy":
        np.save(tmp_path / name, rows)
        options = {}
    else:
        with pytest.importorskip("h5py").File(tmp_path / name, "w") as file:
            file.create_dataset("rows", data=rows, chunks=(2, 2))
        options = {}
    of_file = pardata.source(tmp_path / name, **options).map(np.sum)
    with pytest.raises(pardata.PlanError, match=r" 3, 'four' 4: cut the longer one off with take"):
        pardata.zip(of_file, pardata.source(range(4), name="four"), by="position").run(engine=engine)
    assert len(list(pardata.zip(of_file, pardata.source([1, 2, 3]), by="position").iterate(engine=engine))) == 3
    np.save(tmp_path / "none.npy", rows[:0])
    assert list(pardata.source(tmp_path / "none.npy").iterate(engine=engine)) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a, b: pardata.zip(a, a.map(abs), by="position"), "common source: 'images' is one .without by="),
        (lambda a, b: pardata.zip(pardata.merge(a, b), b, by="position"), "common source: 'masks'"),
        (lambda a, b: pardata.zip(pardata.merge(a, b), pardata.source([1]), by="position"), "'merge' anew by a gener"),
        (lambda a, b: pardata.zip(a, b), 'by="position"'),
    ],
)
def test_streams_without_positions_are_refused(make, words):
    with pytest.raises(pardata.PlanError, match=words):
        make(*streams()).run()


def test_words_for_by():
    with pytest.raises(pardata.ConfigError, match='"number" or "position", not \'index\''):
        pardata.zip(*streams(), by="index")
    assert "zip (position of 2)" in str(plain())
