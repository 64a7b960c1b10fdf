"""The service and its clients: tokens, versions, restarts, and requests that mean harm."""

import collections
import fcntl
import http.client
import http.server
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import werkzeug.serving
import werkzeug.test

import pardata
from pardata.lookup import transport, wire
from pardata.lookup.known import KnownContents
from pardata.lookup.listening import listen
from pardata.lookup.service import MOST_BODY_BYTES, LookupApp
from pardata.lookup.transport import _UnixConnection

KEYS = np.arange(0, 3000, 3)
ARRAY_KEY = json.dumps(wire.to_json(np.array([3, 6])), separators=(",", ":"))


@pytest.fixture
def table():
    with pardata.Table(KEYS, KEYS * 2) as made:
        yield made


@pytest.fixture
def server(table):
    with pardata.serve(table) as made:
        yield made


def request(server, method, path, body=None, token=None, **headers):
    """Ask as any other program would; return status, headers and body."""
    connection = _UnixConnection(server.address.removeprefix("unix:"), 30)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        token = server.token if token is None else token
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"} | headers)
        except BrokenPipeError:
            pass  # the answer came before all of the body was taken
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_other_programs_read_json(server, table):
    status, headers, body = request(server, "GET", "/item?key=6")
    assert (status, json.loads(body)) == (200, {"value": 12})
    etag = headers["ETag"]
    assert request(server, "GET", "/item?key=6", If_None_Match=etag)[0] == 304
    status, _, body = request(server, "POST", "/many", '{"keys": [6, 7, 9]}')
    said = json.loads(body)
    assert status == 200 and said["first"]["values"] == [True, False, True]
    assert said["columns"] == [{"dtype": "<i8", "values": [12, 18]}] and said["names"] == [None]
    status, headers, body = request(
        server, "POST", "/many", wire.to_npy([np.array([6, 7])]), Content_Type=wire.NPY, Accept=wire.NPY
    )
    assert headers["Content-Type"] == wire.NPY and [part.tolist() for part in wire.from_npy(body)] == [
        [True, False],
        [12],
    ]
    assert json.loads(request(server, "GET", "/range?low=3&high=9")[2])["columns"][0]["values"] == [6, 12]
    assert json.loads(request(server, "GET", "/about")[2])["keys"] == 1000
    table.replace({6: "six"})
    status, headers, body = request(server, "GET", "/item?key=6", If_None_Match=etag)
    assert (status, json.loads(body)) == (200, {"value": "six"}) and headers["ETag"] != etag


@pytest.mark.parametrize("path", ["/about", "/item?key=3", "/keys", "/nothing"])
def test_a_wrong_token_is_401(server, path):
    for token in ("", "wrong", server.token + "x", server.token[:-1], "\xe9"):
        assert request(server, "GET", path, token=token)[0] == 401
    assert request(server, "GET", "/health", token="")[2] == b'{"status": "ok"}'
    with pardata.Service(server.address, "wrong") as client, pytest.raises(pardata.ConfigError, match="refused the"):
        client[3]
    with pardata.Service(server.address) as client, pytest.raises(pardata.ConfigError, match="refused the"):
        len(client)


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("GET", "/nothing", None, None, 404),
        ("POST", "/item", b"{}", None, 404),
        ("GET", "/item", None, None, 400),
        ("GET", "/item?key=", None, None, 400),
        ("GET", "/item?key={}", None, None, 400),
        ("GET", "/item?key=[[[", None, None, 400),
        ("GET", "/item?key=" + "[" * 20_000, None, None, 400),
        ("GET", "/item?key=7", None, None, 404),
        ("GET", '/item?key={"npy":"AAAA"}', None, None, 400),
        ("POST", "/many", b"", None, 400),
        ("POST", "/many", b"\xff\xfe", None, 400),
        ("POST", "/many", b"[1, 2]", None, 400),
        ("POST", "/many", b'{"keys": 7}', None, 400),
        ("POST", "/many", b'{"keys": [{"a": 1}]}', None, 400),
        ("POST", "/many", b"[" * 100_000, None, 400),
        ("POST", "/many", b"nonsense", wire.NPY, 400),
        ("POST", "/many", b"", wire.NPY, 400),
        ("POST", "/many", wire.to_npy([np.zeros((2, 2))]), wire.NPY, 400),
        ("POST", "/many", wire.to_npy([KEYS, KEYS]), wire.NPY, 400),
        ("GET", f"/item?key={ARRAY_KEY}", None, None, 400),
        ("GET", f"/range?low={ARRAY_KEY}", None, None, 400),
        ("GET", "/range?low=[1]", None, None, 400),
        ("GET", '/range?low="%5Cud800"', None, None, 400),
        ("POST", "/many", bytes(MOST_BODY_BYTES + 1), None, 413),
    ],
)
def test_wrong_requests_are_4xx_and_the_service_goes_on(server, method, path, body, kind, status):
    headers = {} if kind is None else {"Content_Type": kind}
    assert request(server, method, path.replace('"', "%22"), body, **headers)[0] == status
    assert request(server, "GET", "/item?key=3")[0] == 200


GOOD_REQUESTS = [
    ("GET", "/item?key=3", None, None),
    ("GET", '/item?key={"float":"nan"}', None, None),
    ("GET", "/range?low=3&high=9", None, None),
    ("GET", "/about", None, None),
    ("POST", "/many", b'{"keys": [3, 6.5, "a", {"bytes": "AAAA"}, {"tuple": [1, 2]}, null, true, 1e400]}', wire.JSON),
    ("POST", "/many", wire.to_npy([KEYS[:9]]), wire.NPY),
    ("POST", "/many", wire.to_npy([np.array(["abc", "de"])]), wire.NPY),
]


def mutated(rng, data):
    """Change, remove and repeat some bytes."""
    made = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(made) + 1)
        part = made[at : at + rng.randrange(1, 9)]
        made[at : at + rng.randrange(9)] = rng.choice((b"", part * 2, rng.randbytes(3), rng.choice(TOKENS)))
    return bytes(made)


TOKENS = [b"[", b"]", b"{", b'"', b"-1", b"18446744073709551616", b"NaN", b"1e999", b"null", b'"\\ud800"', b"\0", b","]


@pytest.mark.parametrize("kind", ["table", "database"])
def test_requests_that_mean_harm_never_are_an_error_of_the_service(table, tmp_path, kind):
    database = pardata.Database.create(tmp_path / "a.db", {int(key): int(key) * 2 for key in KEYS})
    client = werkzeug.test.Client(LookupApp(table if kind == "table" else database))
    rng = random.Random(0)
    seen = collections.Counter()
    for number in range(1500):
        method, path, body, content = GOOD_REQUESTS[number % len(GOOD_REQUESTS)]
        path = mutated(rng, path.encode()).decode("latin-1").replace("#", "")
        body = body and mutated(rng, body)
        headers = {"Accept": wire.NPY if number % 2 else wire.JSON}
        answer = client.open(path or "/", method=method, data=body, content_type=content, headers=headers)
        assert answer.status_code < 500, (method, path, body)
        seen[answer.status_code] += 1
    assert seen[200] > 100 and seen[400] > 100 and seen[404] > 100
    assert client.get("/item?key=3").json == {"value": 6}
    database.close()


def test_bytes_that_are_no_request_do_no_harm(server):
    rng = random.Random(0)
    good = b"POST /many HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: 15\r\n\r\n" % (
        server.token.encode()
    )
    good += b'{"keys": [3,6]}'
    path = server.address.removeprefix("unix:")
    answers = 0
    for number in range(200):
        data = mutated(rng, good) if number % 2 else rng.randbytes(rng.randrange(1, 300))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(10)
            try:
                answer = sock.recv(100)
            except ConnectionError:
                answer = b""
            assert not re.match(rb"HTTP/1.. 5(?!01)", answer), data  # 501: an encoding that waitress does not know
            answers += answer.startswith(b"HTTP/1.1 200")
    assert answers > 10
    with server.lookup() as client:
        assert client[3] == 6


def test_the_client_keeps_values_until_the_contents_change(server, table, monkeypatch):
    asked = []
    ask = pardata.Service._ask
    monkeypatch.setattr(
        pardata.Service, "_ask", lambda self, *args, **options: asked.append(args[1]) or ask(self, *args, **options)
    )
    with server.lookup(max_age_s=1000) as client:
        assert [client[3], client[6], client[3]] == [6, 12, 6]
        assert asked == ["/item", "/item"]
        table.replace(KEYS, KEYS * 3)
        assert client[3] == 6  # so old it may be
        assert client[9] == 27  # the answer tells of the new version
        assert client[3] == 9
    asked.clear()
    with server.lookup(max_age_s=0) as client:
        assert [client[3], client[3]] == [9, 9]
        assert asked == ["/item", "/about"]  # which says: not modified
        table.replace(KEYS, KEYS * 4)
        assert client[3] == 12
    with server.lookup(cache=0) as client:
        assert [client[3], client[3]] == [12, 12]
    with server.lookup(cache=2, max_age_s=1000) as client:
        assert [client[key] for key in (3, 6, 9, 6)] == [12, 24, 36, 24]
        assert [key for _, key in client._contents.values] == [9, 6]


def test_many_keys_come_out_of_one_version(server, table, monkeypatch):
    monkeypatch.setattr("pardata.lookup.requests._KEYS_AT_ONCE", 100)
    columns = pardata.Service._columns
    replaced = []

    def replacing(self, *arguments):
        if not replaced:
            replaced.append(table.replace(KEYS, KEYS * 5))
        return columns(self, *arguments)

    with server.lookup() as client:
        assert client.columns == [None]
        monkeypatch.setattr(pardata.Service, "_columns", replacing)
        assert np.array_equal(client.get_many(KEYS), KEYS * 5)


def test_columns_keep_their_names_when_the_contents_change(server, table):
    table.replace([1, 2], {"mass": [1.0, 2.0], "charge": [-1.0, -2.0]})
    with server.lookup() as client:
        assert client.range(1, 3)[1]["mass"].tolist() == [1.0, 2.0]
        table.replace([1, 2], {"charge": [-1.0, -2.0], "mass": [1.0, 2.0]})
        assert client.range(1, 3)[1]["mass"].tolist() == [1.0, 2.0]
        table.replace([1, 2], {"charge": [-3.0, -4.0]})
        assert client.range(1, 3)[1]["charge"].tolist() == [-3.0, -4.0]


def test_a_late_answer_is_not_kept_for_the_contents_that_came_after_it(server, table, monkeypatch):
    """Thread A has its answer; B hears of other contents; then A keeps its own."""
    keep = KnownContents.keep

    def late(self, *arguments):
        monkeypatch.setattr(KnownContents, "keep", keep)
        table.replace(KEYS, KEYS * 7)
        assert client[6] == 42
        keep(self, *arguments)

    with server.lookup(max_age_s=0) as client:
        monkeypatch.setattr(KnownContents, "keep", late)
        assert client[3] == 6
        assert client[3] == 21


def test_what_is_kept_is_not_what_was_handed_out(server, table):
    table.replace({"a": {"x": [1]}})
    with server.lookup(max_age_s=1000) as client:
        client["a"]["x"].append(2)
        assert client["a"] == {"x": [1]}


def test_what_cannot_be_a_key_is_missing(server):
    with server.lookup() as client:
        assert client.get_many([3, object(), 6], default=-1).tolist() == [6, -1, 12]
        with pytest.raises(KeyError):
            client.get_many([3, object()])


def test_contents_that_change_all_the_time_are_told_as_that(table, monkeypatch):
    with pardata.serve(table) as server, server.lookup(retry_s=0.05) as client:
        versions = iter(range(10**6))
        monkeypatch.setattr(pardata.Table, "version", property(lambda self: str(next(versions))))
        with pytest.raises(pardata.BrokenError, match="it is busy: .*the contents change all the time"):
            client.get_many([3])


@pytest.mark.parametrize("ask", [lambda client: client.get_many(KEYS), lambda client: client.range(3, 9),
                                 lambda client: dict(client.items())])  # fmt: skip
def test_a_look_up_whose_contents_change_between_its_requests_ends_in_time(server, table, monkeypatch, ask):
    monkeypatch.setattr("pardata.lookup.requests._KEYS_AT_ONCE", 500)
    send, factors = transport.Transport.send, iter(range(2, 50))

    def replacing(self, *arguments):
        answer = send(self, *arguments)
        table.replace(KEYS, KEYS * next(factors))
        return answer

    with server.lookup(timeout_s=60) as client:
        clock = itertools.count(0, 10)
        monkeypatch.setattr("pardata.lookup.client.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(transport.Transport, "send", replacing)
        with pytest.raises(pardata.DeadlineExceeded, match="change all the time: for 60 s no version") as caught:
            ask(client)
        assert server.address in str(caught.value) and next(factors) > 4  # not at the first change
        monkeypatch.setattr(transport.Transport, "send", send)
        assert ask(client) is not None


def test_nothing_is_nan_among_the_floats_that_a_service_gives_one_by_one(tmp_path):
    with (
        pardata.Database.create(tmp_path / "a.db", [(1, 0.5), (2, None)], columns=["id", "x"], key="id") as database,
        pardata.serve(database) as server,
        server.lookup() as client,
    ):
        assert client[2] == database[2] == {"x": None}
        assert dict(client.items()) == {1: {"x": 0.5}, 2: {"x": pytest.approx(np.nan, nan_ok=True)}}


def test_no_thread_that_has_answered_outlives_its_service(table, monkeypatch):
    """Its last answer may still hold what it was read from, as a connection to a database."""
    from waitress.task import ThreadedTaskDispatcher

    run, join = ThreadedTaskDispatcher.handler_thread, threading.Thread.join
    is_awaited = threading.Event()

    def join_and_tell(thread, timeout=None):
        if thread.name.startswith("waitress"):
            is_awaited.set()
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join_and_tell)
    monkeypatch.setattr(ThreadedTaskDispatcher, "handler_thread", lambda *of: (run(*of), is_awaited.wait(10)))
    before = set(threading.enumerate())
    with pardata.serve(table, threads=1) as server, server.lookup() as client:
        dict(client.items())
    try:
        assert set(threading.enumerate()) <= before
    finally:
        is_awaited.set()


def test_a_look_up_that_is_closed_under_its_service_is_told_as_that(capfd):
    table = pardata.Table([1], [2])
    with pardata.serve(table) as server, server.lookup() as client:
        table.close()
        with pytest.raises(pardata.BrokenError, match="410: .*closed"):
            client[1]
    assert capfd.readouterr().err == ""


def test_a_service_is_its_process_own(table):
    """A child that was forked within the `with` block leaves it, too."""
    with pardata.serve(table) as server:
        child = os.fork()
        if not child:
            server.close()
            os._exit(0)
        os.waitpid(child, 0)
        with server.lookup() as client:
            assert client[3] == 6


def test_a_place_that_somebody_else_has_taken_is_left_to_him(table, tmp_path):
    address = f"unix:{tmp_path}/service"
    first = pardata.serve(table, address, token="secret")
    os.unlink(tmp_path / "service")
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(f"{tmp_path}/service")
        another.listen()
        first.close()
        assert os.listdir(tmp_path) == ["service"]
        with pytest.raises(pardata.ConfigError, match="in use"):
            pardata.serve(table, address)
    assert os.listdir(tmp_path) == ["service"]
    pardata.serve(table, address).close()  # nobody answers there any more
    assert os.listdir(tmp_path) == []


def test_a_place_is_taken_as_soon_as_it_is_bound(tmp_path):
    sock, _, lock = listen(f"unix:{tmp_path}/service")
    with sock, pytest.raises(pardata.ConfigError, match=f"being served by process {os.getpid()} already"):
        listen(f"unix:{tmp_path}/service")
    lock.release()


def test_a_lock_of_somebody_else_on_the_folder_is_not_waited_for(table, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pardata.serve(table, f"unix:{tmp_path}/service", token="secret") as server, server.lookup() as client:
        assert client[3] == 6
    assert os.listdir(tmp_path) == []
    os.close(folder)


def test_the_end_of_the_program_closes_the_service(tmp_path):
    script = "import pardata; server = pardata.serve(pardata.Table([1], [2]))"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, os.listdir(tmp_path)) == (0, "", [])


SERVER = """
import sys
import pardata
with pardata.Table([1], [int(sys.argv[2])]) as table, pardata.serve(table, sys.argv[1], token="secret"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def start(address, value):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, address, str(value)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def stop(process):
    process.stdin.close()
    process.stdout.close()
    process.wait()


def test_a_server_that_is_killed_and_started_anew_is_found_again(tmp_path, monkeypatch):
    address = f"unix:{tmp_path}/service"
    process = start(address, 10)
    with pardata.Service(address, "secret", max_age_s=0, retry_s=200) as client:  # a busy machine starts slowly
        assert client[1] == 10
        process.send_signal(signal.SIGKILL)
        stop(process)
        failed = threading.Event()
        monkeypatch.setattr(transport.time, "sleep", lambda seconds: failed.set() or threading.Event().wait(seconds))
        results = []
        thread = threading.Thread(target=lambda: results.append(client[1]))
        thread.start()
        failed.wait()  # it has met a closed door
        process = start(address, 20)
        thread.join()
        assert results == [20]
        client.close()
    stop(process)


def test_a_server_that_stays_away_is_an_error_that_says_so(table, tmp_path):
    with pardata.serve(table) as server, server.lookup(retry_s=0.05, max_age_s=0) as client:
        assert client[3] == 6
        server.close()
        with pytest.raises(pardata.BrokenError, match="does not answer, tried for 0.05 s"):
            client[3]
        with pytest.raises(pardata.BrokenError, match=str(server.address)):
            client.get_many([3])
    with (
        pardata.Service(f"unix:{tmp_path}/nothing", retry_s=0) as client,
        pytest.raises(pardata.BrokenError, match="No such file"),
    ):
        len(client)


def test_items_are_of_one_version(monkeypatch):
    with pardata.Table({1: "a", 2: "b"}) as table, pardata.serve(table) as server, server.lookup() as client:
        ask, asked = client._ask, []

        def replace_behind_the_keys(method, path, *arguments, **named):
            answer = ask(method, path, *arguments, **named)
            if path == "/keys" and path not in asked:
                table.replace({1: "c", 2: "d", 3: "e"})
            asked.append(path)
            return answer

        monkeypatch.setattr(client, "_ask", replace_behind_the_keys)
        assert list(client.items()) == [(1, "c"), (2, "d"), (3, "e")]
        assert asked.count("/keys") == 2


def test_a_server_that_says_nothing_is_a_deadline(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/silent")
        listener.listen()
        with (
            pardata.Service(f"unix:{tmp_path}/silent", timeout_s=0.05) as client,
            pytest.raises(pardata.DeadlineExceeded, match="has not answered for 0.05 s"),
        ):
            client[1]


class _Nonsense(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(int(self.headers["Authorization"].removeprefix("Bearer ")))
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_server_of_something_else_is_an_error(status):
    with http.server.HTTPServer(("127.0.0.1", 0), _Nonsense) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            client = pardata.Service(f"http://127.0.0.1:{other.server_port}", str(status))
            for ask in (lambda: client[1], lambda: client.get_many([1]), lambda: list(client), lambda: len(client)):
                with pytest.raises(pardata.BrokenError, match="has answered"):
                    ask()
            client.close()
        finally:
            other.shutdown()
            thread.join()


def test_any_wsgi_server_runs_the_application(table):
    """Here Werkzeug's own, which closes every connection after its answer; `serve` uses waitress."""
    other = werkzeug.serving.make_server("127.0.0.1", 0, LookupApp(table, "secret"), request_handler=_Quiet)
    thread = threading.Thread(target=other.serve_forever, args=(0.01,))
    thread.start()
    try:
        with pardata.Service(f"http://127.0.0.1:{other.server_port}", "secret", max_age_s=0) as client:
            assert [client[3], client[6], len(client)] == [6, 12, 1000]
            assert np.array_equal(client.get_many(KEYS), KEYS * 2)
    finally:
        other.shutdown()
        thread.join()
        other.server_close()


class _Quiet(werkzeug.serving.WSGIRequestHandler):
    def log(self, *_):
        pass


def test_on_loopback(table):
    with pardata.serve(table, "127.0.0.1:0", token="secret") as server:
        assert server.address.startswith("http://127.0.0.1:")
        with pardata.Service(server.address, "secret") as client:
            assert client[3] == 6 and list(client)[:2] == [0, 3]
        with pytest.raises(pardata.ConfigError, match="no service can be opened"):
            pardata.serve(table, server.address)


def test_a_database_and_a_service_are_served_too(tmp_path):
    with (
        pardata.Database.create(tmp_path / "a.db", {"a": 1, "b": 2}) as database,
        pardata.serve(database) as first,
        first.lookup() as near,
        pardata.serve(near) as second,
        second.lookup() as far,
    ):
        assert dict(far) == {"a": 1, "b": 2} and far.range("b")[0].tolist() == ["b"]


def test_long_keys_go_in_several_requests(table, server):
    keys = [f"{number}".zfill(40_000) for number in range(300)]
    table.replace(keys, np.arange(300))
    with server.lookup() as client:
        assert np.array_equal(client.get_many(keys), np.arange(300))


def test_what_cannot_be_sent_or_ranged_is_an_error(table, server):
    table.replace({"a": {1, 2}})
    with server.lookup() as client:
        with pytest.raises(pardata.ConfigError, match="cannot be sent"):
            client["a"]
        with pytest.raises(pardata.ConfigError, match="cannot be sent"):
            client.range("a", "b")
        with pytest.raises(pardata.ConfigError, match="keys are str"):
            client.range(1)
        with pytest.raises(KeyError):
            client[object()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda table: pardata.serve({1: 2}), "not dict"),
        (lambda table: pardata.serve(table, "0.0.0.0:80"), "LookupApp behind TLS"),
        (lambda table: pardata.serve(table, "unix:/nowhere/at/all"), "/nowhere/at/all cannot be served"),
        (lambda table: pardata.serve(table, threads=0), "threads must be"),
        (lambda table: pardata.Service("localhost:80"), "address must be"),
        (lambda table: pardata.Service("unix:"), "address must be"),
        (lambda table: pardata.Service("http://"), "address must be"),
        (lambda table: pardata.Service("http://localhost:x"), "address must be"),
        (lambda table: pardata.Service("unix:a", cache=-1), "cache must be"),
    ],
)
def test_bad_arguments(table, make, message):
    with pytest.raises(pardata.ConfigError, match=message):
        make(table)


def test_missing_packages_are_named(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress", None)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[http\]"):
        pardata.serve(table)
