"""What a call has said comes before its result, also if its worker is killed and the next process says nothing."""

import contextlib
import os
import signal

import pytest

import pardata


class Terminal:
    """A stream that takes nothing until somebody reads from it."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.gate, self.opener = os.pipe()
        self.said = []

    def write(self, text):
        os.write(self.writer, b".")  # somebody writes
        os.read(self.gate, 1)
        self.said.append(text)

    def flush(self):
        pass

    def close(self):
        for fd in (self.reader, self.writer, self.gate, self.opener):
            os.close(fd)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


def test_what_a_call_has_said_before_it_is_done_again_is_out_before_its_result(terminal, tmp_path):
    def once(path):
        if not os.path.exists(path):
            open(path, "w").close()
            print("said", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return 7

    with contextlib.redirect_stdout(terminal), pardata.WorkerPool(1) as pool:
        told, behind = pool.submit(once, tmp_path / "begun"), pool.submit(abs, -1)
        order = []
        told.add_done_callback(lambda _: order.append(list(terminal.said)))
        os.read(terminal.reader, 1)  # the line has arrived, and cannot be written
        assert behind.result() == 1  # so the outcome of the first call was taken in
        os.write(terminal.opener, b"." * 9)
        assert told.result() == 7
    assert order == [terminal.said] and "said" in "".join(terminal.said)
