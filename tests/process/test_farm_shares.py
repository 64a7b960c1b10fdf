"""A free worker gets the next item: also before anybody knows how long an item takes."""

import socket
import threading

import pytest

import pardata


class Gate:
    """Lets `count` callers of `enter`, in any process, go on when all of them are inside."""

    def __init__(self, path, count):
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen(64)
        self._count = count
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            inside = []
            for _ in range(self._count):
                try:
                    inside.append(self._server.accept()[0])
                except OSError:
                    return
            for caller in inside:
                caller.send(b"!")
                caller.close()

    def close(self):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_every_worker_of_a_farm_has_one_of_the_first_items(tmp_path, kind):
    path, workers = str(tmp_path / "gate"), 8

    def enter(number):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(path)
            return number if caller.recv(1) == b"!" else None

    gate = Gate(path, workers)
    try:
        assert list(pardata.source(range(workers)).map(enter, workers=workers, kind=kind)) == list(range(workers))
    finally:
        gate.close()
