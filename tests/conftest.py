import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp

import pytest
from pytest_copie.plugin import Copie

from tests.matrix import DIRECTORY
from tests.projects import Project, recorded_answers, snapshot

# Projects are asked for again and again by other tests of the same process, and never changed.
Render = Callable[..., Project]


def pytest_configure(config: pytest.Config) -> None:
    basetemp = config.getoption("basetemp")
    if basetemp and "PYTEST_XDIST_WORKER" in os.environ:
        config.stash[DIRECTORY] = Path(basetemp).parent / "matrix"  # beside each worker's own
    else:
        config.stash[DIRECTORY] = Path(mkdtemp(prefix="matrix-"))
        config.add_cleanup(partial(rmtree, config.stash[DIRECTORY], ignore_errors=True))
    config.stash[DIRECTORY].mkdir(exist_ok=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have recorded, which are wanted from a run that passes too."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        if getattr(report, "when", None) == "call":
            for name, figures in report.user_properties:
                terminalreporter.write_line(f"{name}: {figures}")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of the working tree, outside any repository."""
    return snapshot(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def render(template: Path, copie_session: Copie) -> Render:
    """Generate the default project with some answers changed. Not to be written into."""
    rendered: dict[frozenset[tuple[str, str]], Project] = {}

    def render(**changes: str) -> Project:
        key = frozenset(changes.items())
        if key not in rendered:
            result = copie_session.copy(changes, template_dir=template)
            if result.exception:
                raise result.exception
            assert result.project_dir
            rendered[key] = Project(result.project_dir, recorded_answers(result.project_dir))
        return rendered[key]

    return render


@pytest.fixture(scope="session")
def outside() -> Iterator[Path]:
    """A directory outside that of pytest, which every pytest that starts closes to other users.

    PostgreSQL, which root runs as another user, has its data in the projects.
    """
    with TemporaryDirectory(prefix="projects-") as directory:
        yield Path(directory)
