"""The arithmetic of database connections, for rules about pools."""

from collections.abc import Mapping

from tests.deploy.running import Application

# PostgreSQL's default, and what it reserves for its superuser.
MAX_CONNECTIONS, RESERVED = 100, 3
AVAILABLE = MAX_CONNECTIONS - RESERVED


def per_process(settings: Mapping[str, str], application: Application) -> int:
    """How many connections a process may open: its pool, the overflow, and one for probes."""
    names = ("DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW")
    return 1 + sum(int(settings.get(name) or application.settings[name]) for name in names)
