"""`python -m pardata top`: looks once in a second and draws one screen, until somebody has seen enough."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from pardata.process.system import check_linux, module
from pardata.runtime.watching.counts import seen_in
from pardata.runtime.watching.screen import Look, lines_of
from pardata.runtime.watching.segments import command_of, segments

_WHAT: Final = "worker processes, which `top` shows"
_REFRESH_S: Final = 1.0
_BEGIN: Final = "\x1b[?1049h\x1b[?25l"  # the other screen, which leaves what was printed before; no cursor
_END: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_NEW_LINE: Final = "\x1b[K\n"  # the rest of the line before was of the last screen
_REST: Final = "\x1b[J"

termios: Any = module("termios")
tty: Any = module("tty")


def look() -> Look:
    """Return what this user's runs and pools are at now."""
    check_linux(_WHAT)
    found, commands = [], {}
    for segment in segments():
        for seen in seen_in(segment.key, segment.headers, time.monotonic_ns()):
            if seen.pid in segment.pids:  # else its main process is gone, and its workers go
                seen.pid = segment.pids[seen.pid]
                commands[seen.pid] = command_of(seen.pid)
                found.append(seen)
    return Look(time.monotonic_ns(), found, commands)


def text() -> str:
    """Return one table, for scripts and pipes: rates since each run has begun."""
    return "\n".join(lines_of(look(), None)).rstrip()


def is_terminal() -> bool:
    """Return whether a screen can be drawn on standard output."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def watch() -> None:
    """Draw a screen once in a second, until `q`, Ctrl-C, SIGTERM or the end of the terminal."""
    check_linux(_WHAT)
    before = None
    with contextlib.suppress(KeyboardInterrupt), _ended_by_signals(), _screen():
        while True:
            now = look()
            width, height = shutil.get_terminal_size()
            shown = [f"{time.strftime('%H:%M:%S')}  items/s and shares of the last second; q ends"[:width], ""]
            shown += lines_of(now, before, width, max(1, height - len(shown)))
            print(_HOME + _NEW_LINE.join(shown[:height]) + _REST, end="", flush=True)
            before = now
            if _is_enough():
                return


def _has_keys() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # None: it was closed


def _is_enough() -> bool:
    """Wait for the next look; return whether `q` was pressed."""
    end_s = time.monotonic() + _REFRESH_S
    while (left_s := end_s - time.monotonic()) > 0:
        if not _has_keys():
            time.sleep(left_s)
        elif select.select([sys.stdin], [], [], left_s)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or b"q" in keys.lower():
                return True
    return False


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have the signals that would end the process at once leave this block, so that the terminal is as it was."""
    ends = (signal.SIGTERM, signal.SIGHUP)
    kept = {number: signal.signal(number, lambda number, _: sys.exit(128 + number)) for number in ends}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Use the terminal's other screen, and hear of keys as they are pressed; all is as it was afterwards."""
    has_keys = _has_keys()
    kept = termios.tcgetattr(sys.stdin) if has_keys else None
    try:
        if has_keys:
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)  # a key that is pressed already counts
        print(_BEGIN, end="", flush=True)
        yield
    finally:
        print(_END, end="", flush=True)
        if kept is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, kept)
