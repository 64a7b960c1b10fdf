#!/usr/bin/env bash
# werkzeug 3.1.9: make_server() of a port that is taken raises no OSError; it ends the program, or silently a thread.
#
# http.server, wsgiref and waitress raise OSError where an address cannot be bound, so a tool that serves a page beside its
# work tries the next port, or says that there is no page and goes on. werkzeug.serving.make_server, which returns a server
# object for that very use, catches the error, prints its text to standard error and calls sys.exit(1). `except OSError` and
# `except Exception` do not see that: the program ends in the middle of its work, with the words "Address already in
# use". In a thread Python takes SystemExit for a wish to end the thread and says nothing of it: the program goes on with a
# page that is not there. The same holds for an address that this machine does not have. Only a socket that the caller has
# bound (fd=) fails as expected.
#
# Seen: wsgiref: OSError; werkzeug: SystemExit(1), and in a thread the same, without a traceback.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet werkzeug==3.1.9

venv/bin/python - <<'EOF'
import contextlib
import io
import socket
import threading
from wsgiref.simple_server import make_server as wsgiref_server

from werkzeug.serving import make_server as werkzeug_server
from werkzeug.wrappers import Response

app = Response("a page")
taken = socket.create_server(("127.0.0.1", 0))
port = taken.getsockname()[1]
seen = []


def serve(make):
    try:
        make("127.0.0.1", port, app)
    except Exception as error:
        seen.append(type(error).__name__)
    except BaseException as error:
        seen.append(f"{type(error).__name__}({error})")
        raise


serve(wsgiref_server)
try:
    serve(werkzeug_server)
except SystemExit:
    pass
with contextlib.redirect_stderr(io.StringIO()) as told:
    thread = threading.Thread(target=serve, args=[werkzeug_server])
    thread.start()
    thread.join()
has_traceback = "Traceback" in told.getvalue()
print(seen, "a traceback of the thread:", has_traceback)
if seen != ["OSError", "SystemExit(1)", "SystemExit(1)"] or has_traceback:
    raise SystemExit("werkzeug now tells of a taken port differently.")
EOF
