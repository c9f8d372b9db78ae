"""Settings of OpenID Connect providers."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.cli.main import cli
from app.core.settings import Environment, Settings, get_settings
from app.core.settings.oidc import OidcSettings

PROVIDER = {"issuer": "https://id.example.com", "client_id": "us", "client_secret": "hunter2"}


def providers(**changes: Any) -> str:
    """Return `OIDC_PROVIDERS` with one provider; None removes a member."""
    members = {**PROVIDER, **changes}
    return json.dumps({"one": {k: v for k, v in members.items() if v is not None}})


def fault(variable: str, **settings: Any) -> str:
    """Return what is said about the variable, which tells no value."""
    with pytest.raises(ValidationError) as refused:
        Settings(**settings)
    [message] = [
        error["msg"] for error in refused.value.errors() if error["loc"] == (variable.lower(),)
    ]
    assert "hunter2" not in str(refused.value)
    return message.removeprefix("Value error, ")


def test_providers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_PROVIDERS", providers(scopes="openid email"))

    provider = Settings().oidc_providers["one"]

    assert provider.metadata_url == "https://id.example.com/.well-known/openid-configuration"
    assert provider.scopes == ["openid", "email"]
    assert provider.client_secret.get_secret_value() == "hunter2"


def test_issuer_follows_from_the_discovery_url() -> None:
    url = "https://id.example.com/tenant/.well-known/openid-configuration"

    settings = Settings(oidc_providers=providers(issuer=None, discovery_url=url))

    issuer = "https://id.example.com/tenant"
    assert settings.oidc_providers["one"].issuers == {issuer, f"{issuer}/"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hunter2", "is not JSON"),
        ('["hunter2"]', "must be a JSON object"),
        ("[" * 100_000, "is not JSON"),
        ('{"One": {}}', "takes names of lower-case letters"),
        ('{"../one": {}}', "takes names of lower-case letters"),
        ('{"one": "hunter2"}', "one: Input should be a valid dictionary"),
        (providers(client_id=None), "one.client_id: Field required"),
        (providers(client_secret=""), "one.client_secret: "),
        (providers(client_secrets="hunter2"), "one.client_secrets: Extra inputs"),
        (providers(issuer=None), "one: needs an issuer"),
        (providers(issuer="id.example.com"), "one.issuer: must be a URL"),
        (providers(issuer="https://[::1"), "one.issuer: must be a URL"),
        (providers(issuer="https://id.example.com:99999"), "one.issuer: must be a URL"),
        (providers(issuer="https://id example.com"), "one.issuer: must be a URL"),
        (providers(issuer="file:///etc/passwd"), "one.issuer: must be a URL"),
        (providers(scopes="email"), "one: needs the scope openid"),
    ],
)
def test_faulty_providers_are_named(value: str, message: str) -> None:
    assert fault("OIDC_PROVIDERS", oidc_providers=value).startswith(message)


def test_several_providers_can_be_configured() -> None:
    settings = Settings(oidc_providers={"one": PROVIDER, "two": PROVIDER})

    assert list(settings.oidc_providers) == ["one", "two"]


@pytest.mark.parametrize("member", ["issuer", "discovery_url", "redirect_uri"])
def test_deployed_service_reaches_providers_by_tls_only(member: str) -> None:
    url = "http://id.example.com/.well-known/openid-configuration"

    value = providers(**{member: url})

    message = fault("OIDC_PROVIDERS", environment="staging", oidc_providers=value)

    assert message == "one: every URL must start with https://"


@pytest.mark.parametrize(
    "path", ["//evil.example.com", "/\\evil", "https://evil.example.com", "account", "/a\n", "/a?b"]
)
def test_paths_after_login_lead_nowhere_else(path: str) -> None:
    assert fault("OIDC_NEXT_PATHS", oidc_next_paths=[path]).startswith("takes plain paths")


# ── Where we are ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        (["api.example.com"], "https://api.example.com"),
        (["*.example.com"], ""),
        (["api.example.com", "www.example.com"], ""),
    ],
)
def test_public_url_follows_from_the_only_host(hosts: list[str], url: str) -> None:
    settings = OidcSettings(environment=Environment.PRODUCTION, allowed_hosts=hosts)

    assert settings.public_url == url


def test_public_url_in_development_is_that_of_its_server() -> None:
    assert Settings(allowed_hosts=["api.example.com"]).public_url == "http://127.0.0.1:8000"


def test_public_url_is_not_needed_without_providers() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(environment=Environment.PRODUCTION, allowed_hosts=["*.example.com"])

    assert "public_url" not in {error["loc"][0] for error in refused.value.errors()}


@pytest.mark.parametrize("hosts", ["api.example.com,www.example.com", "*.example.com"])
def test_deployed_service_has_to_know_where_it_is(hosts: str) -> None:
    message = fault(
        "PUBLIC_URL", environment="production", allowed_hosts=hosts, oidc_providers=providers()
    )

    assert message == "is missing: where providers send people back to"


def test_deployed_service_is_reached_by_tls_only() -> None:
    message = fault("PUBLIC_URL", environment="production", public_url="http://api.example.com")

    assert message == "must start with https://"


@pytest.mark.parametrize("url", ["api.example.com", "https://", "https://api.example.com/?a=b"])
def test_public_url_has_to_be_one(url: str) -> None:
    assert fault("PUBLIC_URL", public_url=url).startswith("must be a URL")


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_PROVIDERS", providers())
    get_settings.cache_clear()

    printed = CliRunner().invoke(cli, ["settings"]).output

    get_settings.cache_clear()
    assert '"issuer": "https://id.example.com"' in printed
    assert "hunter2" not in printed
