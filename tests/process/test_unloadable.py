"""An item that pickles and cannot be unpickled is blamed on the stage that has made it, and is one failed item."""

import numpy as np
import pytest

import pardata
from tests.process.unloadable import HOW, Fine

COUNT = 12


def make(how, bad):
    """Return a stage that makes objects, of which those with the numbers `bad` cannot be loaded."""

    def reader(number):
        value = HOW[how](number) if number in bad else Fine(number)
        return {"number": number, "value": [value, np.full(4000 if number % 2 else 3, number)]}

    return reader


def use(item):
    return item["number"], int(item["value"][1][0])


@pytest.mark.parametrize("how", HOW)
def test_the_stage_that_made_it_is_blamed(how):
    stream = pardata.source(range(COUNT)).map(make(how, {5}), name="reader").map(use, name="user")
    with pytest.raises(pardata.SerializationError, match=r"stage 'reader' for item 5 cannot be loaded") as caught:
        list(stream)
    assert any("in stage 'reader', item 5" in note for note in caught.value.__notes__)


def test_the_error_of_the_part_that_is_gone_is_told():
    stream = pardata.source(range(COUNT)).map(make("a part of it is gone", {5}), name="reader").map(use)
    with pytest.raises(pardata.SerializationError, match="cannot make 5 again"):
        list(stream)


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("how", HOW)
def test_it_is_skipped_as_one_item(how, chunksize):
    out = []
    stream = pardata.source(range(COUNT)).map(make(how, {0, 5, 11}), name="reader", chunksize=chunksize)
    report = stream.map(use, name="user", errors="skip").to(out).run()
    assert out == [(number, number) for number in range(COUNT) if number not in (0, 5, 11)]
    assert [(item.stage, item.number) for item in report.skipped] == [("user", 0), ("user", 5), ("user", 11)]
    assert all("stage 'reader'" in str(item.error) for item in report.skipped)


def test_it_has_a_letter():
    read = pardata.source(range(COUNT)).map(make("its constructor raises", {5}), name="reader", chunksize=4)
    used = read.map(use, name="user", errors="stream")
    letters = []
    done = list(pardata.merge(used, used.failed.map(lambda letter: ("failed", letter.number, str(letter.error)))))
    letters = [item for item in done if item[0] == "failed"]
    assert [number for _, number, _ in letters] == [5] and "stage 'reader'" in letters[0][2]
    assert len(done) == COUNT


def test_the_most_errors_count_it():
    stream = pardata.source(range(COUNT)).map(make("its constructor raises", {1, 2, 3}), name="reader")
    with pytest.raises(pardata.SerializationError, match="cannot be loaded"):
        stream.map(use, errors="skip", max_errors=2).run()


def test_who_takes_the_results_is_told_which_stage_made_it():
    with pytest.raises(pardata.SerializationError, match=r"stage 'reader' for item 2 cannot be loaded"):
        list(pardata.source(range(COUNT)).map(make("its state is refused", {2}), name="reader"))


def test_a_generator_filter_does_not_hide_it():
    def everything(items):
        yield from items

    stream = pardata.source(range(COUNT)).map(make("its class is gone", {2}), name="reader") | everything
    with pytest.raises(pardata.SerializationError, match=r"stage 'reader' for item 2 cannot be loaded"):
        list(stream)


def test_a_pair_of_which_one_cannot_be_loaded_is_skipped():
    source = pardata.source(range(COUNT))
    one, other = source.map(make("its constructor raises", {3}), name="reader"), source.map(abs, workers=2)
    out = []
    pardata.zip(one, other).map(lambda pair: pair[1], errors="skip", workers=2).to(out).run()
    assert out == [number for number in range(COUNT) if number != 3]
