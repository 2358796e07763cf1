"""The ready-made functions, against an endpoint on this machine that answers as the vendors' do."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme

from mailqueue.errors import TokenUnavailable
from mailqueue.oauth2.cache import TokenCache
from mailqueue.oauth2.identity import identify
from mailqueue.oauth2.source import Source, find_source
from mailqueue.oauth2.token import read_token
from tests.oauth2.issuer import ACCOUNT, CLIENT, SECRET, TENANT, Issuer

USER = "news@example.com"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


@pytest.fixture
def entra(authority: trustme.CA, tmp_path: Path, monkeypatch: Any) -> Iterator[Issuer]:
    """Microsoft's, which speaks HTTPS only."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with Issuer(tls) as issuer:
        yield issuer


@pytest.fixture
def google() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def of_microsoft(issuer: Issuer, **changes: Any) -> Source:
    options = {"tenant": TENANT, "client_id": CLIENT, "authority": issuer.url} | changes
    return find_source("mailqueue.oauth2.microsoft", options, alias=None, username=USER)


def of_google(account: Any) -> Source:
    options = {"service_account": account}
    return find_source("mailqueue.oauth2.google", options, alias=None, username=USER)


def test_microsofts_by_a_secret(entra: Issuer) -> None:
    """Each request is a new one, with the scope for SMTP; the token lasts as long as it says."""
    cache, source = TokenCache(lambda: 0.0), of_microsoft(entra, client_secret=SECRET)
    token = cache.get(source, 30)
    assert (token.text, token.ends_at) == ("token-1", 3600.0)
    cache.drop(source, token)
    assert cache.get(source, 30).text == "token-2"
    assert identify(source, token).startswith(
        f"issuer {entra.url}/{TENANT}, application {CLIENT}, token until "
    )


def test_microsofts_by_a_certificate(entra: Issuer, authority: trustme.CA, tmp_path: Path) -> None:
    """The file has key and certificate; the key stays here."""
    found = authority.issue_cert("mailqueue.example", key_type=trustme.KeyType.RSA)
    path = tmp_path / "application.pem"
    path.write_bytes(found.private_key_pem.bytes() + found.cert_chain_pems[0].bytes())
    entra.certificate = found.cert_chain_pems[0].bytes().decode()
    source = of_microsoft(entra, certificate=str(path))
    assert TokenCache().get(source, 30).text == "token-1"
    assert "client_secret" not in entra.requests[0]


def test_microsofts_refusal_is_quoted_without_the_secret(entra: Issuer) -> None:
    """The code that Microsoft's documentation explains is in it."""
    with pytest.raises(TokenUnavailable, match="invalid_client: AADSTS7000215: Inv") as raised:
        TokenCache().get(of_microsoft(entra, client_secret="wr0ng"), 30)
    assert "wr0ng" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, "either 'client_secret' or 'certificate'"),
        ({"client_secret": "s3cret", "certificate": "s3cret"}, "either 'client_secret' or"),
        ({"certificate": "/no/s3cret.pem"}, "'certificate' is no PEM file.*FileNotFoundError"),
    ],
)
def test_microsofts_credentials_are_one_of_two(entra: Issuer, changes: Any, wrong: str) -> None:
    """The text names the options."""
    with pytest.raises(TokenUnavailable, match=wrong) as raised:
        TokenCache().get(of_microsoft(entra, **changes), 30)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("is_file", [True, False], ids=["file", "dictionary"])
def test_googles_by_a_service_account(google: Issuer, is_file: bool, tmp_path: Path) -> None:
    """It acts for the mailbox that logs in, by the scope for SMTP."""
    account: Any = google.service_account
    if is_file:
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account))
        account = str(path)
    source = of_google(account)
    token = TokenCache().get(source, 30)
    assert token.text == "token-1"
    assert identify(source, token).startswith(
        f"issuer {google.url}/token, application {ACCOUNT}, token until "
    )


def test_googles_refusal_is_quoted_without_the_key(google: Issuer) -> None:
    """So is a key that can't be read."""
    google.mode = "refuse"
    with pytest.raises(TokenUnavailable, match="invalid_client"):
        TokenCache().get(of_google(google.service_account), 30)
    broken = google.service_account | {"private_key": "-----BEGIN s3cret\nKEY s3cret-----"}
    with pytest.raises(TokenUnavailable) as raised:
        TokenCache().get(of_google(broken), 30)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("kind", ["microsoft", "google"])
@pytest.mark.parametrize("mode", ["hang", "gone"])
def test_an_endpoint_that_is_away_keeps_nobody(kind, mode, entra, google, unused_port) -> None:
    """One that hangs, and one that isn't there."""
    issuer = entra if kind == "microsoft" else google
    issuer.mode = mode
    url = f"https://127.0.0.1:{unused_port}"
    account = issuer.service_account
    if mode == "gone":
        account |= {"token_uri": url}
    source = (
        of_google(account)
        if kind == "google"
        else of_microsoft(
            issuer, client_secret=SECRET, **({"authority": url} if mode == "gone" else {})
        )
    )
    patience = 0.3 if mode == "hang" else 60
    with pytest.raises(TokenUnavailable, match="no answer within" if mode == "hang" else "refused"):
        TokenCache().get(source, patience)


def test_a_token_that_names_its_issuer_is_believed() -> None:
    """Microsoft's are JWTs: what they say is what the server reads."""
    claims = {"iss": "https://sts.windows.net/1/", "appid": CLIENT, "aud": "https://outlook"}
    text = jwt.encode(claims, "k" * 32)
    source = Source("x.token", lambda **_: None, None, USER, {})
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert identify(source, read_token((text, 60), 0.0, now)) == (
        f"issuer https://sts.windows.net/1/, application {CLIENT}, "
        "token until 2026-11-30 12:01:00 UTC"
    )
    for opaque in ("ya29.abc", "a.b.c", "a.e30.c", "a.W10.c"):
        assert identify(source, read_token((opaque, 60), 0.0, now)) == (
            "token function x.token, token until 2026-11-30 12:01:00 UTC"
        )


def test_mailqueue_is_imported_without_the_vendors_libraries() -> None:
    """They need not be there; who asks for them is told what to install."""
    program = """
import sys
hidden = ("msal", "google", "requests", "jwt")
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
import mailqueue.oauth2, mailqueue.backends.smtp, mailqueue.tasks
assert not [name for name in sys.modules if name.partition(".")[0] in hidden]
for function, options in [
    (mailqueue.oauth2.microsoft, {"tenant": "t", "client_id": "c", "client_secret": "s"}),
    (mailqueue.oauth2.google, {"service_account": {}}),
]:
    try:
        function(alias=None, username="ann", **options)
    except mailqueue.errors.ImproperlyConfigured as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'pip install "mailqueue[microsoft]"' in done.stdout
    assert 'pip install "mailqueue[google]"' in done.stdout
