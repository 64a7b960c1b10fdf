#!/usr/bin/env bash
# Linux (seen on 6.18): descriptors sent to a process at its limit arrive in part, and recvmsg succeeds.
#
# Five descriptors in one message (SCM_RIGHTS, as for shared memory) to a process that has room for two: recvmsg
# returns the bytes, installs two, closes the other three for good and sets MSG_CTRUNC, the flag for an ancillary
# buffer that was too small, which was not. open() and dup() in the same state raise EMFILE, and so one expects an
# error, with the message left to be received again. Python's socket.recv_fds returns the flags as its third value and
# raises nothing; reading one fewer than were sent is the receiver's only hint. multiprocessing's own transfer checks
# the number.
#
# Seen: the message's byte, two of five descriptors and MSG_CTRUNC; with the limit lifted a further receive finds
# nothing.
set -euo pipefail

python3 - <<'EOF'
import os
import resource
import socket

os.closerange(3, 1000)
sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sent = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
socket.send_fds(sender, [b"x"], sent)
for descriptor in sent:
    os.close(descriptor)
gaps = [os.dup(receiver.fileno())]  # takes the lowest free number, so that exactly two are free below the limit
while gaps[-1] < 40:
    gaps.append(os.dup(receiver.fileno()))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (gaps[-1] + 3, hard))
data, received, flags, _ = socket.recv_fds(receiver, 10, 5)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
receiver.setblocking(False)
try:
    rest = receiver.recv(10)
except BlockingIOError:
    rest = "nothing"
seen = data, len(received), bool(flags & socket.MSG_CTRUNC), rest
expected = b"x", 2, True, "nothing"
print(seen)
if seen != expected:
    raise SystemExit("Linux now treats descriptors above the receiver's limit differently.")
EOF
