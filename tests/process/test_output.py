"""Prints, warnings, log records and bars of stages and tasks appear in the main process, as those of any function."""

import contextlib
import ctypes
import importlib
import io
import logging
import logging.handlers
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

import pardata

ENGINES = ("serial", "threads", "processes")


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def untagged(text):
    return [line.partition("] ")[2] if line.startswith("[") else line for line in text.splitlines()]


def talk(x):
    print("first", x)
    sys.stderr.write(f"beside {x}\n")
    sys.stdout.buffer.write("bytes \u00e9\n".encode())
    sys.stdout.reconfigure(line_buffering=True)
    thread = threading.Thread(target=print, args=("of a thread",))
    thread.start()
    thread.join()
    print("begun", end="")
    if x == 2:
        raise ValueError("after these words")
    print("\r" + "over and over", end="\n")
    return x


def test_all_that_was_printed_is_there_when_the_run_has_ended_or_failed(engine, capsys):
    with pytest.raises(ValueError, match="after these words"):
        pardata.source(range(3)).map(talk).run(engine=engine)
    out, err = capsys.readouterr()
    first = ["first 0", "bytes \u00e9", "of a thread", "over and over"]
    middle = [line.replace("first 0", "first 1") for line in first]
    last = ["first 2", "bytes \u00e9", "of a thread", "begun"]
    lines = [line.rpartition("\r")[2] for line in untagged(out.replace("begun\r", ""))]
    assert lines == [*first, *middle, *last]
    assert untagged(err) == ["beside 0", "beside 1", "beside 2"]


def test_redirected_streams_are_those_of_the_moment(engine):
    heard = [io.StringIO(), io.StringIO()]
    stream = pardata.source(range(2)).map(lambda x: print("item", x))
    for text in heard:
        with contextlib.redirect_stdout(text):
            stream.run(engine=engine)
    assert [untagged(text.getvalue()) for text in heard] == [["item 0", "item 1"]] * 2


def test_the_last_words_of_a_worker_that_dies_are_there_with_the_error(capfd):
    def die(x):
        print("last words")
        os._exit(3)

    with pytest.raises(pardata.WorkerLostError):
        pardata.source([1]).map(die, name="die").run(max_restarts=0)
    assert capfd.readouterr().out == "[die] last words\n"
    with pardata.WorkerPool(1, retries=0) as pool:
        for future in [pool.submit(die, 1)]:
            with pytest.raises(pardata.WorkerLostError):
                future.result()
            assert set(capfd.readouterr().out.splitlines()) == {"[pool 0] last words"}


def test_what_a_task_says_comes_before_its_result(capsys):
    def loud(x):
        print("x" * x)
        if x == 7:
            raise ValueError(x)
        return x

    with pardata.WorkerPool(2) as pool:
        for x in range(30):
            future = pool.submit(loud, x)
            assert future.exception() is None or x == 7
            assert untagged(capsys.readouterr().out) == ["x" * x]
            assert list(pool.map(loud, [x + 100])) == [x + 100]
            assert untagged(capsys.readouterr().out) == ["x" * (x + 100)]
        pool.map_array(lambda block: print("block") or block, np.zeros(3), chunksize=1)
        assert untagged(capsys.readouterr().out) == ["block"] * 3
        assert pool.submit(loud, 40_000).result() == 40_000
        assert untagged(capsys.readouterr().out) == ["x" * 40_000]


class Unpicklable:
    """Tells in which process its text was made; cannot be sent."""

    def __init__(self):
        self.lock = threading.Lock()

    def __str__(self):
        return "lazy"


class OwnError(Exception):
    pass


def log_much(x):
    log = logging.getLogger("lab.much")
    assert log.getEffectiveLevel() == logging.INFO  # also before anything was logged
    log.info(
        "lazy %s", Unpicklable(), extra={"user": {"name": "ann", "ids": [1, 2]}, "day": np.datetime64("2020-01-01")}
    )
    try:
        raise OwnError("inner") from None  # the context would be that of the thread: pytest has one
    except OwnError:
        log.exception("failed %d", x)
    log.warning("here", stack_info=True)
    log.info("%(a)s and %(b)s", {"a": 1, "b": 2})
    log.debug("not wanted")
    logging.getLogger("lab.much.quiet").info("not wanted")
    logging.getLogger("unheard of").log(35, "level %d", 35)
    return x


def test_log_records_are_those_of_a_program_of_one_process(caplog, monkeypatch):
    caplog.set_level(logging.WARNING, "lab.much.quiet")
    caplog.set_level(logging.INFO, "lab.much")  # the last one is that of the handler, too
    monkeypatch.setitem(logging._levelToName, 35, "LOUD")
    told = {}
    for engine in ENGINES:
        caplog.clear()
        pardata.source([5]).map(log_much).run(engine=engine)
        told[engine] = [
            (
                record.name, record.levelname, record.levelno, record.getMessage(), record.funcName, record.lineno,
                record.pathname, getattr(record, "user", None), getattr(record, "day", None),
                record.exc_info and (record.exc_info[0], str(record.exc_info[1])), record.exc_text,
                record.stack_info and record.stack_info.splitlines()[-1],
            )
            for record in caplog.records
        ]  # fmt: skip
        if engine != "serial":
            assert all(record.relativeCreated > 0 and record.created > 1e9 for record in caplog.records)
    assert [row[1] for row in told["serial"]] == ["INFO", "ERROR", "WARNING", "INFO", "LOUD"]
    assert told["serial"][1][9] == (OwnError, "inner")
    assert told["threads"] == told["serial"]
    assert told["processes"] == told["serial"]


def test_a_level_that_is_set_meanwhile_counts_at_the_next_record(caplog, tmp_path):
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    for path in (asked, answered):
        os.mkfifo(path)

    def log_twice(x):
        log = logging.getLogger("lab.later.part")
        for message in ("before", "after"):
            log.debug("%s %d", message, x)
            log.error("%s %d", message, x)
            asked.write_text("ready")
            answered.read_text()
        return x

    def change():
        for set_level in (lambda: logging.getLogger("lab.later").setLevel(logging.DEBUG), int):
            asked.read_text()
            set_level()
            answered.write_text("go on")
        for set_level in (lambda: logging.disable(logging.CRITICAL), int):
            asked.read_text()
            set_level()
            answered.write_text("go on")

    def told(run, *parts, settle=int):
        caplog.clear()
        logging.getLogger("lab.later").setLevel(logging.INFO)
        settle()
        thread = threading.Thread(target=change)
        thread.start()
        try:
            for part in parts:
                run(part)
        finally:
            thread.join()
            logging.disable(logging.NOTSET)
        return [(record.levelname, record.message) for record in caplog.records]

    wanted = [("ERROR", "before 1"), ("DEBUG", "after 1"), ("ERROR", "after 1")]
    wanted += [("DEBUG", "before 2"), ("ERROR", "before 2")]
    for engine in ENGINES:
        assert told(lambda x, engine=engine: pardata.source([x]).map(log_twice).run(engine=engine), 1, 2) == wanted
    with pardata.WorkerPool(1) as pool:

        def settle():
            """Have the main process look at its levels, as its change of one is looked at with the next record."""
            pool.submit(lambda: logging.getLogger("lab.later.part").debug("not wanted")).result()

        for _ in range(2):
            assert told(lambda x: pool.submit(log_twice, x).result(), 1, 2, settle=settle) == wanted


class Exits(logging.Handler):
    def emit(self, record):
        raise SystemExit(record.getMessage())


def test_handler_that_exits_is_told_of_once(capsys):
    handler, logger = Exits(), logging.getLogger("lab.exits")
    logger.addHandler(handler)
    try:
        assert list(pardata.source([1, 2]).map(lambda x: logger.error("item %d", x))) == [None, None]
    finally:
        logger.removeHandler(handler)
    told = capsys.readouterr().err
    assert told.count("could not be shown, as the code for it raised SystemExit('item 1')") == told.count("raised") == 1


def test_a_log_file_that_is_turned_over_meanwhile_gets_the_records(engine, tmp_path):
    handler = logging.handlers.RotatingFileHandler(tmp_path / "log", backupCount=1)
    logger = logging.getLogger("lab.file")
    logger.addHandler(handler)
    try:
        with pardata.source(range(3)).map(lambda x: logger.error("item %d", x)).iterate(engine=engine) as run:
            next(run)
            with handler.lock:  # as `emit` has it when it does so
                handler.doRollover()
            assert len(list(run)) == 2
    finally:
        logger.removeHandler(handler)
        handler.close()
    both = (tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()
    assert both == "item 0\nitem 1\nitem 2\n"


MODULE = """
import logging
log = logging.getLogger(__name__)
log.addHandler(logging.FileHandler({path!r}))
log.addFilter(lambda record: record.args != (2,))
log.setLevel(logging.INFO)
log.propagate = False
def work(x):
    log.info("item %d", x)
    log.debug("not wanted")
"""


def test_handlers_of_a_module_are_called_once_and_those_that_a_function_adds_in_the_worker(
    engine, tmp_path, monkeypatch, caplog
):
    name = f"lab_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(path=str(tmp_path / "log")))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(name)
    pardata.source(range(4)).map(module.work).run(engine=engine)
    module.log.handlers[0].close()
    assert (tmp_path / "log").read_text() == "item 0\nitem 1\nitem 3\n"

    def with_handler(x):
        heard = io.StringIO()
        handler = logging.StreamHandler(heard)
        logging.getLogger("lab.worker").addHandler(handler)
        logging.getLogger("lab.worker").error("item %d", x)
        logging.getLogger("lab.worker").removeHandler(handler)
        return heard.getvalue()

    assert list(pardata.source(range(2)).map(with_handler).iterate(engine=engine)) == ["item 0\n", "item 1\n"]
    assert [record.message for record in caplog.records] == ["item 0", "item 1"]


def warn(x):
    warnings.warn("careful", stacklevel=1)
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    warnings.warn("not this", stacklevel=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("kept to itself", stacklevel=1)
    np.log(np.zeros(1))
    return len(caught)


def test_warnings_are_warned_of_in_the_main_process(engine, recwarn):
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", "not this")
    assert list(pardata.source(range(2)).map(warn).iterate(engine=engine)) == [1, 1]
    told = [(str(each.message), each.category, each.filename == __file__) for each in recwarn]
    once = [("careful", UserWarning, True), ("old", DeprecationWarning, True)]
    once.append(("divide by zero encountered in log", RuntimeWarning, True))
    assert told == once * 2


def test_output_of_c_code_goes_where_that_of_the_main_process_goes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import ctypes, os, sys, pardata\n"
        "def work(x):\n"
        "    ctypes.CDLL(None).printf(b'from C\\n')\n"
        "    sys.__stdout__.write('from below\\n')\n"
        "pardata.source([1]).map(work).run()\n"
        "with pardata.WorkerPool(1) as pool: pool.submit(work, 1).result()\n"
    )
    with open(tmp_path / "out", "wb") as out:
        environment = {**os.environ, "PYTHONPATH": str(Path(pardata.__file__).parents[1])}
        subprocess.run([sys.executable, program], stdout=out, env=environment, check=True, timeout=240)
    assert sorted((tmp_path / "out").read_text().splitlines()) == ["from C"] * 2 + ["from below"] * 2


def test_a_capture_of_descriptors_has_what_c_code_prints(capfd):
    def work(x):
        print("of Python")
        ctypes.CDLL(None).puts(b"of C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["echo", "of a program"], check=True)

    pardata.source([1]).map(work).run()
    assert sorted(untagged(capfd.readouterr().out)) == ["of C", "of Python", "of a program"]


class Bar:
    """As a bar of tqdm's; keeps what it has shown."""

    shown: list = []  # noqa: RUF012

    def __init__(self, total=None, desc="", **_):
        self.n, self.total, self.desc = 0, total, desc

    def set_description(self, desc, refresh=True):
        self.desc = desc

    def refresh(self):
        self.shown.append((self.desc.rpartition("]")[2].strip(), self.n, self.total))

    def close(self):
        self.shown.append((self.desc.rpartition("]")[2].strip(), "closed"))


def test_a_stage_shows_bars_of_its_own(engine, monkeypatch):
    def fit(x):
        bar = pardata.worker().progress(total=2, desc=f"open {x}")
        bar.update(2)
        bar.refresh()
        return [y for y in pardata.worker().progress(range(3), desc=f"loop {x}")]

    Bar.shown.clear()
    monkeypatch.setattr("pardata.runtime.bars.bar_kind", lambda: Bar)
    assert list(pardata.source(range(2)).map(fit).iterate(engine=engine)) == [[0, 1, 2]] * 2
    for x in range(2):
        told = [shown for shown in Bar.shown if shown[0].endswith(str(x))]
        assert (f"open {x}", 2, 2) in told and (f"loop {x}", 0, 3) in told
        assert told.count((f"open {x}", "closed")) == told.count((f"loop {x}", "closed")) == 1
        assert told[-1][1] == "closed"


def test_a_loop_that_does_not_ask_for_items_does_not_keep_output_waiting(capsys, tmp_path):
    """The workers print more than a socket holds while the main process waits for them in the body of its loop."""
    done = tmp_path / "done"
    os.mkfifo(done)

    def chat(x):
        for number in range(10_000):
            print(x, number)
        if x == 3:
            done.write_text("done")
        return x

    for x in pardata.source(range(4)).map(chat):
        if x == 0:
            done.read_text()
    lines = untagged(capsys.readouterr().out)
    assert lines == [f"{x} {number}" for x in range(4) for number in range(10_000)]


class Locked(io.StringIO):
    """Takes a lock in each write."""

    def __init__(self, lock):
        super().__init__()
        self.lock = lock

    def write(self, text):
        with self.lock:
            return super().write(text)


def say_much(x):
    print("x" * 4000)
    logging.getLogger("lab.locked").error("of %s", x)
    return x


def fail_loudly(x):
    print("failed")
    raise ValueError(x)


def test_a_caller_that_holds_a_lock_of_the_output_gets_its_results(monkeypatch):
    monkeypatch.setattr("pardata.runtime.output.relief._LOOK_S", 0.01)
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("lab.locked").addHandler(handler)
    stdout = Locked(threading.Lock())
    monkeypatch.setattr(sys, "stdout", stdout)
    numbers = list(range(60))  # whose lines are more than fits into a socket
    try:
        with pardata.WorkerPool(1) as pool:
            for lock in (stdout.lock, handler.lock):
                with lock:
                    assert list(pardata.source(numbers).map(say_much)) == numbers
                    assert pool.submit(say_much, 1).result() == 1
                    assert pool.submit(fail_loudly, 1).exception().args == (1,)
                    assert list(pool.map(say_much, numbers)) == numbers
                    assert pool.map_array(lambda block: print("block") or block, np.arange(3)).tolist() == [0, 1, 2]
                    with pardata.WorkerPool(1) as other:
                        other.submit(say_much, 2)
            pool.submit(say_much, 3).result()
        for thread in threading.enumerate():
            if thread.name == "pardata-console":  # of the runs and pools that have ended under the lock
                thread.join()
    finally:
        logging.getLogger("lab.locked").removeHandler(handler)
    lines = [line.partition("] ")[2] for line in stdout.getvalue().splitlines()]
    assert sorted(set(lines)) == ["block", "failed", "x" * 4000]
    assert lines.count("x" * 4000) == len(handler.stream.getvalue().splitlines()) == 2 * (2 * 60 + 2) + 1
