"""What workers have said is shown by a thread: in their order, and whatever the streams and handlers do."""

import contextlib
import io
import logging
import os
import sys
import threading
import time
import warnings
from uuid import uuid4

import pytest

from pardata.memory.shared_heap import shared_heap
from pardata.runtime import line_bar, stage_bars
from pardata.runtime.bars import BarState
from pardata.runtime.events import BarChanged, Logged, Said, Warned, send_event
from pardata.runtime.output.console import Console
from pardata.runtime.output.records import pack_record


@pytest.fixture
def console():
    made = Console(shared_heap())
    yield made
    made.close()
    made._thread.join()  # that a lock has held up `close` does not wait for


def say(console, *events):
    for event in events:
        send_event(console.sock, event)


def logged(text, level=logging.ERROR, was_handled=False, is_sure=False, **attributes):
    record = logging.makeLogRecord({"name": "lab", "msg": text, "levelno": level, "levelname": "?", **attributes})
    return Logged("f", pack_record(record), is_sure, was_handled)


class Stuck(io.StringIO):
    """Takes nothing until it may, as a pager that is not read."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr("pardata.runtime.output.relief._is_blocked", lambda: True)
        super().__init__()
        self.asked, self.may = threading.Event(), threading.Event()

    def write(self, text):
        self.asked.set()
        self.may.wait()
        return super().write(text)


def test_lines_of_both_streams_and_records_come_in_their_order(console, monkeypatch, caplog):
    both = io.StringIO()
    monkeypatch.setattr(sys, "stdout", both)
    monkeypatch.setattr(sys, "stderr", both)
    said = [Said("f 1", ("stdout", "stderr")[n % 2], f"line {n}\nand {n}\n") for n in range(200)]
    say(console, *said, logged("text"), Said("f 1", "stdout", "begun"))
    console.catch_up()
    wanted = "".join(f"[f 1] line {n}\n[f 1] and {n}\n" for n in range(200))
    assert both.getvalue() == wanted + "[f 1] begun\n"
    assert [(record.name, record.message, record.levelname) for record in caplog.records] == [("lab", "text", "ERROR")]


def test_parts_of_a_long_line_are_one_line_whoever_speaks_in_between(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", out)
    console = Console(shared_heap())
    say(console, Said("f 0", "stdout", "one " * 9, True), Said("f 1", "stdout", "x\n"), Said("f 0", "stderr", "e\n"))
    say(
        console,
        Said("f 0", "stdout", "two\nthree\n"),
        Said("f 0", "stdout", "left", True),
        Said("f 1", "stdout", "l", True),
    )
    console.close_bars("f 0")  # that worker has died
    say(console, Said("f 0", "stdout", "its successor\n"))
    console.close()
    told = [
        "[f 1] x",
        "[f 0] e",
        "[f 0] " + "one " * 9 + "two",
        "[f 0] three",
        "[f 0] left",
        "[f 0] its successor",
        "[f 1] l",
    ]
    assert out.getvalue().splitlines() == told


def test_a_long_record_comes_whole(console, caplog):
    say(console, logged("x" * 100_000, extra="y" * 40_000))
    console.catch_up()
    (record,) = caplog.records
    assert (record.message, record.extra) == ("x" * 100_000, "y" * 40_000)


def test_a_stream_that_takes_nothing_holds_up_the_workers_and_loses_nothing(console, monkeypatch):
    stuck = Stuck(monkeypatch)
    monkeypatch.setattr(sys, "stdout", stuck)
    total, sent, shown = 20_000, [], []

    def worker():
        for number in range(total):
            say(console, Said("f", "stdout", f"{number}\n"))
            sent.append(number)

    thread = threading.Thread(target=worker)
    thread.start()
    stuck.asked.wait()
    console.after(lambda: shown.append("all"))  # does not wait, though no mark fits into the socket
    assert len(sent) < total and not shown
    stuck.may.set()
    thread.join()
    console.catch_up()
    assert stuck.getvalue() == "".join(f"[f] {number}\n" for number in range(total))
    assert shown == ["all"]


def test_after_an_interrupt_a_stream_that_takes_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("pardata.runtime.output.console._STUCK_S", 0.01)
    console, stuck = Console(shared_heap()), Stuck(monkeypatch)
    monkeypatch.setattr(sys, "stdout", stuck)
    say(console, Said("f", "stdout", "text\n"))
    stuck.asked.wait()
    console.hurry()
    console.close()
    stuck.may.set()
    next(thread for thread in threading.enumerate() if thread.name == "pardata-console").join()


class Locked(io.StringIO):
    """Takes a lock in each write."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def write(self, text):
        with self.lock:
            return super().write(text)


def test_a_lock_that_the_waiting_thread_holds_holds_up_neither_it_nor_the_workers(monkeypatch, capfd):
    monkeypatch.setattr("pardata.runtime.output.relief._LOOK_S", 0.01)
    console, locked, total = Console(shared_heap()), Locked(), 5000
    called, closed = [], []
    monkeypatch.setattr(sys, "stdout", locked)
    monkeypatch.setattr(console._bars, "close", lambda tag: closed.append(locked.getvalue()))
    with locked.lock:
        for number in range(total):  # more than fits into the socket
            say(console, Said("f", "stdout", f"{number}\n"))
        console.close_bars("f")  # that is to come at its place
        console.after(lambda: called.append(locked.getvalue()))
        console.catch_up()
        say(console, Said("f", "stdout", "last\n"))
        console.close()
        console.catch_up()
        console.close()
        assert called == [""] and not locked.getvalue() and not closed
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "pardata-console"]
    thread.join()
    assert closed == ["".join(f"[f] {number}\n" for number in range(total))]
    assert locked.getvalue() == closed[0] + "[f] last\n"
    assert capfd.readouterr().err.count("waits for a lock") == 1
    console.after(lambda: called.append("later"))
    assert called == ["", "later"]


def test_a_console_that_a_lock_has_held_up_goes_on_as_before(monkeypatch):
    monkeypatch.setattr("pardata.runtime.output.relief._LOOK_S", 0.01)
    console, locked = Console(shared_heap()), Locked()
    monkeypatch.setattr(sys, "stdout", locked)
    for number in range(3):
        with locked.lock:
            say(console, Said("f", "stdout", f"{number}\n"))
            console.catch_up()
        while f"{number}" not in locked.getvalue():
            console.catch_up()
    assert locked.getvalue() == "[f] 0\n[f] 1\n[f] 2\n"
    console.close()
    console._thread.join()  # for this moment it may look as if it were held up still


@pytest.mark.parametrize("is_direct", [True, False])
def test_a_pipe_that_is_not_read_is_no_lock(console, monkeypatch, is_direct):
    source, sink = os.pipe()
    full = os.fdopen(sink, "w")
    os.set_blocking(sink, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(sink, bytes(1 << 16))
    os.set_blocking(sink, True)
    looks, has_looked, locked = [], threading.Event(), Locked()

    def wait(self, timeout):
        looks.append(1)
        if len(looks) == 100:
            has_looked.set()
        return self.is_set()

    monkeypatch.setattr(sys, "stdout", full)
    if not is_direct:  # this thread has the lock, and another one of the program the full pipe
        locked.lock.acquire()
        monkeypatch.setattr(sys, "stderr", locked)
    console._relief._over.wait = wait.__get__(console._relief._over)
    say(console, Said("f", "stdout" if is_direct else "stderr", "text\n"))
    has_looked.wait()
    assert not console._relief.is_needed
    os.read(source, 1 << 20)
    if not is_direct:
        locked.lock.release()
    console.catch_up()
    full.close()
    os.close(source)


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("gone")


def test_lines_that_cannot_be_written_are_told_once(console, monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", told)
    say(console, *[Said("f", "stdout", "text\n")] * 3, Said("f", "stderr", "more\n"))
    console.catch_up()
    first, *rest = told.getvalue().splitlines()
    assert "BrokenPipeError: gone" in first and rest == ["[f] more"]


def test_a_stream_of_another_encoding_gets_escapes_and_none_gets_nothing(console, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", None)
    say(console, Said("f", "stdout", "Gr\u00fc\u00dfe\n"), Said("f", "stderr", "lost, as by print\n"))
    console.catch_up()
    assert raw.getvalue() == b"[f] Gr\\xfc\\xdfe\n"


def test_a_handler_that_raises_is_told_as_logging_does_and_others_have_the_record(console, monkeypatch, caplog):
    class Raises(logging.Handler):
        def emit(self, record):
            raise SystemExit if record.msg == "leave" else RuntimeError("of the handler")

    handler, told = Raises(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    logging.getLogger("lab.raises").addHandler(handler)
    say(console, logged("a", name="lab.raises"), logged("leave", name="lab.raises"), logged("b"))
    console.catch_up()
    assert told.getvalue().startswith("--- Logging error ---\nTraceback")
    assert "RuntimeError: of the handler" in told.getvalue()
    assert [record.message for record in caplog.records] == ["b"]


def test_levels_filters_and_names_of_levels_are_those_of_this_process_now(console, caplog, monkeypatch):
    name = f"lab.{uuid4().hex}"
    lab = logging.getLogger(name)
    monkeypatch.setitem(logging._levelToName, 15, "VERBOSE")

    def shown(*events):
        caplog.clear()
        say(console, *events)
        console.catch_up()
        return [(record.levelname, record.message) for record in caplog.records]

    verbose = logged("v", 15, name=name)
    assert shown(verbose) == []
    lab.setLevel(15)
    assert shown(verbose, logged("own", 16, name=name, levelname="OWN")) == [("VERBOSE", "v"), ("OWN", "own")]
    lab.addFilter(lambda record: record.getMessage() != "v")
    assert shown(verbose, logged("w", name=name)) == [("ERROR", "w")]
    logging.disable(logging.ERROR)
    try:
        assert shown(logged("w", name=name)) == []
        assert shown(logged("before", name=name, is_sure=True)) == [("ERROR", "before")]
    finally:
        logging.disable(logging.NOTSET)
    lab.disabled = True
    assert shown(logged("w", name=name)) == []


def test_a_record_that_a_workers_handler_has_had_goes_to_no_last_resort(console, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    say(console, logged("seen", was_handled=True), logged("new"))
    console.catch_up()
    assert capsys.readouterr().err == "new\n"


def test_warnings_are_warned_of_here(console, capsys):
    def warned(text, category="UserWarning", filename=__file__):
        return Warned("f", text, category, filename, 7)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "not this")
        say(console, warned("this"), warned("not this"), warned("old", "DeprecationWarning", "of a notebook"))
        console.catch_up()
    assert [(str(each.message), each.category.__name__, each.lineno) for each in caught] == [
        ("this", "UserWarning", 7),
        ("old", "DeprecationWarning", 7),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        say(console, *[warned("once for all workers")] * 4)
        console.catch_up()
        assert len(caught) == 1
        warnings.simplefilter("error")
        say(console, warned("an error would come too late"))
        console.catch_up()
    assert f"[f] {__file__}:7: UserWarning: an error would come too late" in capsys.readouterr().err


def test_bars_that_are_left_are_taken_away(console, monkeypatch):
    class Bar:
        closed = []  # noqa: RUF012

        def __init__(self, **_):
            self.desc = ""

        def set_description(self, desc, refresh):
            self.desc = desc

        def refresh(self): ...

        def close(self):
            Bar.closed.append(self.desc)

    monkeypatch.setattr("pardata.runtime.bars.bar_kind", lambda: Bar)
    say(console, *[BarChanged(tag, 0, BarState("fit", 1, 3, "it")) for tag in ("f 0", "f 1", "f 2")])
    say(console, BarChanged("f 0", 0, None))
    console.close_bars("f 1")
    console.catch_up()
    assert Bar.closed == ["[f 0] fit", "[f 1] fit"]
    console.close()
    assert Bar.closed[2:] == ["[f 2] fit"]


def test_a_call_that_waits_for_output_is_made_although_its_like_raises_and_also_after_the_end(console):
    calls = []
    console.after(lambda: 1 / 0)
    console.after(lambda: calls.append(1))
    console.catch_up()
    console.close()
    console.after(lambda: calls.append(2))
    console.catch_up()
    assert calls == [1, 2]


def test_where_nothing_can_be_drawn_a_bar_is_a_line_now_and_then(monkeypatch, capsys):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    bars = stage_bars.Bars({"read": 40, "denoise": None})
    for count in range(1, 40):
        now += 1
        bars._due_s = 0.0
        bars.update([count, count])
    bars.update([40, 40], final=True)
    bars.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * 8 and lines[0] == "read   :  12% 5/40 [00:05<00:35,  1.00item/s]"
    assert lines[-2:] == ["read   : 100% 40/40 [00:39<00:00,  1.03item/s]", "denoise: 40item [00:39,  1.03item/s]"]
    assert not any(set(line) & {"\r", "\x1b"} for line in lines)
    for name, isatty, draws in (("dumb", True, False), ("xterm", True, True), ("xterm", False, False)):
        monkeypatch.setenv("TERM", name)
        monkeypatch.setattr(sys.stderr, "isatty", lambda isatty=isatty: isatty)
        assert (line_bar.bar_kind() is not line_bar.LineBar) == draws
