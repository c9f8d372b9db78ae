"""What a machine lacks is skipped by a developer and fails where everything has to be there."""

import re

import pytest

from tests.deploy.needs import lacks
from tests.questions import REPOSITORY

pytestmark = pytest.mark.deploy


def test_what_is_lacking_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no engine"):
        lacks("no engine")


def test_what_is_lacking_fails_where_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_ALL", "1")

    with pytest.raises(pytest.fail.Exception, match="no engine"):
        lacks("no engine")


def test_no_test_skips_itself_in_another_way() -> None:
    skips = re.compile(r"pytest\.(skip|importorskip)\(")
    files = (path for name in ("tests", "bench") for path in (REPOSITORY / name).rglob("*.py"))

    found = {path.name for path in files if skips.search(path.read_text("utf-8"))}

    assert found == {"needs.py"}
