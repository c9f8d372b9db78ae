"""docs/security.md names tests that exist."""

import ast
import re
from pathlib import Path

_TESTS = Path(__file__).parent
_DOCUMENT = _TESTS.parent / "docs" / "security.md"


def _names_of_tests() -> set[str]:
    return {
        node.name
        for file in _TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_each_rule_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", _DOCUMENT.read_text(encoding="utf-8")))

    assert named
    assert named <= _names_of_tests()
