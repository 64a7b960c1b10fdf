#!/usr/bin/env bash
# DuckDB 2.0.1 on Linux: a process that has a database open, and reads the database's file for a hash or a copy, lets a
# second process write to it; what that has committed is lost.
#
# DuckDB lets one process write, and locks the file with fcntl(F_SETLK). Such a lock belongs to the process and the
# file, not to the descriptor: the first close() of any other descriptor of the file in that process ends it, also of one
# that was open for reading only. DuckDB takes no notice, and goes on with what it has in memory. Neither process sees an
# error. One expects that to read a file changes nothing, and that "Conflicting lock is held" comes until the first
# connection is closed.
#
# Seen: a second process is refused. After open("x.db", "rb").close() in the first one it opens the database, inserts
# 500 rows and sees them; when the first one has inserted 100 and closed it, there are 1,100 of the 1,600 rows.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet duckdb==2.0.1

venv/bin/python - <<'EOF'
import subprocess
import sys

import duckdb

OTHER = """
import duckdb
try:
    database = duckdb.connect("x.db")
except duckdb.IOException as error:
    print("refused" if "Conflicting lock" in str(error) else error)
else:
    database.execute("INSERT INTO t SELECT 5 FROM range(500)")
    print(database.execute("SELECT count(*) FROM t").fetchone()[0])
    database.close()
"""


def second_process():
    return subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=True).stdout.strip()


database = duckdb.connect("x.db")
database.execute("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
database.execute("CHECKPOINT")
seen = [second_process()]
with open("x.db", "rb") as file:
    file.read()
seen.append(second_process())
database.execute("INSERT INTO t SELECT 7 FROM range(100)")
database.close()
seen.append(duckdb.connect("x.db").execute("SELECT count(*) FROM t").fetchone()[0])
print(seen)
if seen != ["refused", "1500", 1100]:
    raise SystemExit("DuckDB's lock and reads of its file now go together differently.")
EOF
