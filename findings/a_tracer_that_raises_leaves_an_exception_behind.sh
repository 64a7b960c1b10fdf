#!/usr/bin/env bash
# CPython 3.11 to 3.15: a trace function that raises in an `except` block leaves that block's exception in the thread for good.
#
# Time limits for a piece of code, tests that interrupt a function at every line, and debuggers end a function by raising
# from a trace function (`sys.settrace`). If the line is the first of an `except` block, the function is left, its caller
# catches the error, and nothing is handled any more; but `sys.exception()` of the thread still gives what the block
# had caught, until the thread ends. From then on every exception of that thread has it as its context, so each
# traceback, also of errors that have nothing to do with it, begins with the old one and "During handling of the above
# exception"; a bare `raise` raises it instead of telling that there is nothing to raise. After n such interrupts
# the chain has n links, and keeps alive what their frames hold.
#
# Seen on 3.11.7, 3.13.0, 3.14.8 and 3.15.0: FileNotFoundError is left; the later ZeroDivisionError has it as its context.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >tracer.py <<'EOF'
import sys


class Stopped(BaseException):
    pass


def read():
    try:
        open("nothing of this name")
    except OSError:
        return ""


def stop_in_the_block(frame, event, argument):
    def at_line(frame, event, argument):
        if event == "line" and frame.f_lineno == read.__code__.co_firstlineno + 4:
            raise Stopped
        return at_line

    return at_line if frame.f_code is read.__code__ else None


before = sys.exc_info()[0]
sys.settrace(stop_in_the_block)
try:
    read()
except Stopped:
    pass
finally:
    sys.settrace(None)
left = sys.exc_info()[0]
try:
    1 / 0
except ZeroDivisionError as error:
    context = type(error.__context__).__name__
print(sys.version.split()[0], "left behind:", left and left.__name__, "- context of a later error:", context)
if before is not None or left is not FileNotFoundError or context != "FileNotFoundError":
    raise SystemExit("a tracer that raises leaves nothing behind now")
EOF
python3 tracer.py
