"""The documentation of a running project, in a real browser."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from shutil import which

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import Render
from tests.deploy.needs import lacks
from tests.deploy.running import Client, free_port, install, running
from tests.projects import environment

pytestmark = pytest.mark.xdist_group("docs-in-browser")

CHROMIUM = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 30_000  # milliseconds: the machine may have much else to do
EMAIL, PASSWORD = "ann@example.com", "a horse, a staple and a battery"


@dataclass
class Visit:
    """A page that remembers what its browser asked for and complained about."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._remember)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _remember(self, request: Request) -> None:
        self.requests.append(request.url)

    @property
    def elsewhere(self) -> list[str]:
        own = (f"{self.origin}/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        lacks("chromium is not installed")
    with sync_playwright() as playwright:
        # Whoever runs this may be root, as which Chromium refuses its sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["jwt", "oauth2"])
def origin(
    request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where a project with users is served."""
    if CHROMIUM is None:
        lacks("chromium is not installed")
    project = render(preset="standard", auth=request.param, deploy="none", ci="none")
    directory = tmp_path_factory.mktemp("served")
    installed = install(project, directory / "project")
    installed.run(["alembic", "upgrade", "head"], {})
    client = Client(free_port())
    command = [installed.python, "-m", "app", "serve", "--port", str(client.port)]
    with running(command, installed.path, environment(), directory / "log") as process:
        client.wait("/api/v1/health", process)
        client.send(
            "POST",
            "/api/v1/auth/sign-up",
            body=json.dumps({"email": EMAIL, "password": PASSWORD}).encode(),
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE / 1000,
        )
        yield f"http://localhost:{client.port}"


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Visit]:
    page = browser.new_page()
    yield Visit(page, origin)
    page.close()


def test_swagger_ui_logs_in_and_calls_what_needs_a_login(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.origin}/docs")

    page.locator(".auth-wrapper .authorize").first.click()
    page.fill("#oauth_username", EMAIL)
    page.fill("#oauth_password", PASSWORD)
    page.locator(".modal-ux .authorize").click()
    expect(page.locator(".modal-ux").get_by_text("Logout")).to_be_visible(timeout=PATIENCE)
    page.locator(".modal-ux .btn-done").click()

    route = page.locator('.opblock-get:has([data-path="/api/v1/users/me"])')
    route.click()
    route.get_by_role("button", name="Try it out").click()
    route.get_by_role("button", name="Execute").click()
    response = route.locator(".live-responses-table")
    expect(response).to_contain_text(EMAIL, timeout=PATIENCE)
    assert visit.complaints == []
    assert visit.elsewhere == []


def test_swagger_ui_tells_that_a_password_is_wrong(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.origin}/docs")

    page.locator(".auth-wrapper .authorize").first.click()
    page.fill("#oauth_username", EMAIL)
    page.fill("#oauth_password", "wrong")
    page.locator(".modal-ux .authorize").click()

    expect(page.locator(".modal-ux .errors")).to_contain_text("Unauthorized", timeout=PATIENCE)


def test_redoc_describes_the_routes_without_help_from_elsewhere(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.origin}/redoc")

    expect(page.get_by_text("/api/v1/auth/login").first).to_be_attached(timeout=PATIENCE)
    assert visit.complaints == []
    assert visit.elsewhere == []
