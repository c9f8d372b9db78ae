"""Check that the database's schema matches this code."""

from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

_CONFIG: Final = Path(__file__).parents[2] / "alembic.ini"
# The revisions that Alembic has applied to the database.
APPLIED: Final = sa.select(sa.column("version_num", sa.String)).select_from(
    sa.table("alembic_version")
)


def is_behind(applied: AbstractSet[str]) -> bool:
    """Return whether the schema lacks a migration of this code.

    An unknown revision belongs to a later release. This code can run with its schema during the
    rollout. The first call reads the migrations from disk.
    """
    heads, known = _revisions()
    return applied <= known and not heads <= applied


@cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    script = ScriptDirectory.from_config(Config(_CONFIG))
    known = frozenset(revision.revision for revision in script.walk_revisions())
    return frozenset(script.get_heads()), known
