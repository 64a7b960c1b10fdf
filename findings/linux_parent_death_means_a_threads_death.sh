#!/usr/bin/env bash
# Linux (seen on 6.18): the signal for a parent's death comes when the forking thread ends, though the process lives
# on.
#
# prctl(PR_SET_PDEATHSIG) lets a child be killed when its parent dies, so that no worker is left behind. "Parent"
# means the thread that called fork. A child that was started from a thread, as by a thread pool which later shrinks,
# or by a web server's thread per request, is killed as soon as that thread is done, with the program running and
# getppid() unchanged. A child that the main thread forks lives on. Nothing in Python's subprocess or multiprocessing
# tells the two apart.
#
# Seen: the child that a thread forked is ended by SIGKILL after the thread's end; the main thread's child lives.
set -euo pipefail

python3 - <<'EOF'
import ctypes
import os
import signal
import threading

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def start():
    ready, tell_ready = os.pipe()
    go_on, tell_go_on = os.pipe()
    child = os.fork()
    if not child:
        os.close(tell_go_on)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.write(tell_ready, b"x")
        os.read(go_on, 1)
        os._exit(7)
    os.read(ready, 1)
    children.append((child, tell_go_on))


def ended(child, tell_go_on, wait_first):
    if wait_first:  # nobody lets it go on: only the signal can end it
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(tell_go_on, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


children = []
start()
thread = threading.Thread(target=start)
thread.start()
thread.join()
seen = ended(*children[1], wait_first=True), ended(*children[0], wait_first=False)
expected = -signal.SIGKILL, 7
print("exit codes of the thread's child and the main thread's:", seen)
if seen != expected:
    raise SystemExit("Linux now sends the signal for a parent's death at another moment.")
EOF
