"""The page of a run or a pool while it goes on: its numbers, who may see it, and its end."""

import gc
import http.client
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

import pardata
from pardata.memory.budget import format_bytes
from pardata.runtime.dashboard import live, server
from pardata.runtime.dashboard.server import Dashboard
from pardata.runtime.recording.page import body_of
from pardata.runtime.recording.pool_page import pool_body_of
from tests.conformance.test_recording import Cells


def get(address, path="", **options):
    request = urllib.request.Request(address + path, **options)
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def ask(address, method="GET", data=None, headers=None):
    """Status, heads and text of an answer."""
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    try:
        connection.request(method, parts.path, data, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


class Events:
    """The events of a page, as a browser gets them."""

    def __init__(self, address):
        self._answer = urllib.request.urlopen(address + "events")
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")

    def next(self):
        kind, data, empty = (self._answer.readline().decode() for _ in range(3))
        assert empty == "\n"
        return kind.removeprefix("event: ").strip(), json.loads(data.removeprefix("data: "))

    def last(self):
        """The last event, behind which nothing comes."""
        while (found := self.next())[0] != "last":
            pass
        with self._answer:
            assert self._answer.read() == b""
        return found[1]


@pytest.fixture
def shown():
    """A dashboard of a report that is a text, which the page shows."""
    dashboard = Dashboard(str)
    dashboard.follow(lambda: "so far")
    yield dashboard
    dashboard.close("at the end")


def fail_at(number):
    if number == 60:
        raise ValueError("<b>sixty</b>")
    return number


@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_the_numbers_are_those_of_the_report(engine, capfd):
    with pardata.source(range(50)).map(abs, name="<abs>").iterate(engine=engine, dashboard=True) as run:
        assert next(run) == 0
        assert capfd.readouterr().err == f"dashboard: {run.dashboard}\n"
        events = Events(run.dashboard)
        kind, body = events.next()
        assert kind == "page" and "&lt;abs&gt;" in body and "<abs>" not in body
        assert f'href="{run.dashboard}"' in run._repr_html_()
        assert Cells(get(run.dashboard)).rows[0][:3] == ["stage", "workers", "items"]
        assert list(run) == list(range(1, 50))
        report = run.report()
        body = events.last()
    assert body == body_of(report)
    for stage, row in zip(report.stages, Cells(body).rows[1:], strict=False):
        assert row[:4] == [stage.name, str(stage.workers), str(stage.items), format_bytes(stage.bytes)]
    with pytest.raises(urllib.error.URLError):
        get(run.dashboard)
    assert "href" not in run._repr_html_()
    assert report.surroundings.record is not None


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_pool_is_shown_until_its_end(kind, capfd):
    with pardata.WorkerPool(1, kind=kind, dashboard=True, name="numbers") as pool:
        events = Events(pool.dashboard)
        assert "numbers" in events.next()[1]
        assert list(pool.map(abs, range(20))) == list(range(20)) and f'href="{pool.dashboard}"' in pool._repr_html_()
    assert events.last() == pool_body_of(pool.report())
    assert capfd.readouterr().err == f"dashboard: {pool.dashboard}\n"


def test_the_last_page_of_a_run_that_failed_has_the_error(capfd):
    run = pardata.source(range(99)).map(fail_at).iterate(engine="threads", dashboard=True)
    events = Events(run.dashboard)
    with pytest.raises(ValueError, match="sixty"):
        run.finish()
    body = events.last()
    assert "ValueError: &lt;b&gt;sixty&lt;/b&gt;" in body and "<b>sixty" not in body


def test_two_are_shown_at_two_places(capfd):
    stream = pardata.source([1]).map(abs)
    with (
        stream.iterate(engine="serial", dashboard=True) as one,
        stream.iterate(engine="serial", dashboard=True) as other,
    ):
        assert urllib.parse.urlsplit(one.dashboard).port != urllib.parse.urlsplit(other.dashboard).port
        token = urllib.parse.urlsplit(other.dashboard).path
        assert ask(urllib.parse.urljoin(one.dashboard, token))[0] == 404


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_a_run_that_is_dropped_is_shown_no_more(engine, capfd):
    run = pardata.source([1]).map(abs).iterate(engine=engine, dashboard=True)
    address = run.dashboard
    assert get(address)
    del run
    gc.collect()  # of a serial run
    with pytest.raises(urllib.error.URLError):
        get(address)


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_a_run_that_is_dropped_while_its_page_is_drawn_ends(engine, capfd, monkeypatch):
    drawn, dropped = threading.Event(), threading.Event()
    run = pardata.source([1]).map(abs).iterate(engine=engine, dashboard=True)
    dashboard, report = run._life.dashboard, type(run).report

    def report_slowly(self):
        if threading.current_thread().name == server._NAME and not dropped.is_set():
            drawn.set()
            dropped.wait(60)
        return report(self)

    monkeypatch.setattr(type(run), "report", report_slowly)
    run._show_on(dashboard)
    reader = threading.Thread(target=ask, args=(run.dashboard,), daemon=True)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # of the reader, whose connection ends
    reader.start()
    drawn.wait(60)
    del run
    dropped.set()
    reader.join(60)
    gc.collect()  # of a serial run
    dashboard.close()  # waits for that which the last reference has begun
    assert not server._open


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("", {}, 200),
        ("", {"headers": {"Host": "localhost:8080"}}, 200),  # the near end of an SSH tunnel
        ("", {"headers": {"Host": "pages.example"}}, 400),
        ("", {"headers": {"Host": "localhost.pages.example"}}, 400),
        ("", {"method": "HEAD"}, 405),
        ("", {"method": "DELETE"}, 405),
        ("events", {"method": "POST", "data": b"{}"}, 405),
        ("more", {}, 404),
        ("../", {}, 404),
        ("../é/", {}, 404),
    ],
)
def test_who_may_see_it(path, options, status, shown, capfd):
    got, heads, text = ask(urllib.parse.urljoin(shown.address, urllib.parse.quote(path)), **options)
    assert got == status and ("so far" in text) == (status == 200)
    assert heads["Referrer-Policy"] == "no-referrer" and heads["Cache-Control"] == "no-store"
    if status == 200:
        assert "default-src 'none'" in heads["Content-Security-Policy"]


def test_a_part_of_the_token_is_not_enough(shown, capfd):
    for address in (shown.address[:-2] + "/", shown.address[:-1] + "x/"):
        assert ask(address)[0] == 404
    assert len(urllib.parse.urlsplit(shown.address).path) > 30


def test_a_browser_that_does_not_read_holds_nothing_up(capfd):
    dashboard = Dashboard(str)
    dashboard.follow(lambda: "x" * 30_000_000)
    parts = urllib.parse.urlsplit(dashboard.address)
    with socket.create_connection((parts.hostname, parts.port)) as deaf:
        deaf.sendall(f"GET {parts.path}events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with socket.create_connection((parts.hostname, parts.port)) as silent:  # as browsers open some ahead
            assert deaf.recv(16)  # its answer is under way
            assert len(get(dashboard.address)) > 30_000_000
            dashboard.close("")
            assert silent.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name == server._NAME]


def test_there_is_an_end_to_connections(shown, monkeypatch, capfd):
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 0)
    with pytest.raises((ConnectionError, urllib.error.URLError, http.client.RemoteDisconnected)):
        get(shown.address)
    monkeypatch.undo()
    assert "so far" in get(shown.address)


def test_a_page_is_drawn_for_those_who_look(monkeypatch):
    drawn, now_s = [], [100.0]

    def draw(report):
        drawn.append(report)
        now_s[0] += 0.25
        return report

    monkeypatch.setattr(live.time, "monotonic", lambda: now_s[0])
    page = live.LivePage(draw)
    page.report = lambda: f"report {len(drawn)}"
    assert drawn == []
    assert page.body() == page.body() == "report 0"
    now_s[0] += 4.9  # it took 0.25 s: the next one is due 20 times later
    assert page.body() == "report 0"
    now_s[0] += 0.2
    assert page.body() == "report 1"
    events = page.events()
    assert b"report 1" in next(events)
    page.end("the last")
    assert list(events) == [b'event: last\ndata: "the last"\n\n']
    assert list(page.events()) == [b'event: last\ndata: "the last"\n\n']


def test_an_error_of_a_page_is_shown_on_it(capfd):
    page = live.LivePage(len)
    assert "about to begin" in page.document("a")
    page.end(3)
    assert "could not be drawn" in page.body() and "TypeError" in page.body()


def test_a_forked_child_has_no_copies_of_the_sockets(shown, capfd):
    """In an interpreter of its own: this one has threads."""
    script = """
import os, sys, pardata
pool = pardata.WorkerPool(1, kind="thread", dashboard=True)
listener = pool._backend.setup.dashboard._server.socket.fileno()
pid = os.fork()
if not pid:
    try:
        os.fstat(listener)
    except OSError:
        pool._backend.setup.dashboard.close()
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
import urllib.request
print(urllib.request.urlopen(pool.dashboard).status)
pool.shutdown()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["7", "200"], done.stderr


def test_it_needs_werkzeug(monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "werkzeug" or name == "pardata.runtime.dashboard.app":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "werkzeug", None)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[http\]"):
        pardata.source([1]).map(abs).run(dashboard=True)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[http\]"):
        pardata.WorkerPool(1, dashboard=True)


def test_it_is_on_or_off():
    with pytest.raises(pardata.ConfigError, match="dashboard must be True or False"):
        pardata.source([1]).map(abs).run(dashboard=8080)
    with pytest.raises(pardata.ConfigError, match="dashboard must be True or False"):
        pardata.WorkerPool(1, dashboard="yes")
    with pardata.source([1]).map(abs).iterate(engine="serial") as run:
        assert run.dashboard is None


def test_a_run_that_cannot_start_leaves_no_dashboard(capfd):
    with pytest.raises(pardata.ConfigError):
        pardata.source([1]).map(abs).run(engine="none", dashboard=True)
    with pytest.raises(pardata.ConfigError):
        pardata.WorkerPool(1, initializer=threading.Lock().acquire, dashboard=True)
    assert not server._open
