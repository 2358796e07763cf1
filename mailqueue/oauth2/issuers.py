"""The ready-made token functions: Microsoft's by client credentials, Google's by service account.

Each takes what docs/office365.md and docs/gmail.md explain, as ``EMAIL_OAUTH2_OPTIONS``. They keep
nothing: ``cache`` does, and a secret that was changed is used at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from mailqueue.errors import ImproperlyConfigured, TokenUnavailable

_TIMEOUT = 10.0  # seconds for each step of a request
MICROSOFT = "https://login.microsoftonline.com"
_MICROSOFT_SCOPE = "https://outlook.office365.com/.default"
_GOOGLE_SCOPE = "https://mail.google.com/"


def microsoft(
    *,
    alias: str | None,  # noqa: ARG001 - every token function is called with it
    username: str,  # noqa: ARG001 - the application's token opens each mailbox that it was given
    tenant: str,
    client_id: str,
    client_secret: str | None = None,
    certificate: str | None = None,
    authority: str = MICROSOFT,
    scope: str = _MICROSOFT_SCOPE,
) -> tuple[str, float]:
    """Get a token from Microsoft Entra by the client credentials of an application.

    Either ``client_secret``, or ``certificate``: the path of a PEM file that holds the private key
    and its certificate. ``authority`` and ``scope`` differ in national clouds. Returns the token,
    and its life in seconds. Raises TokenUnavailable, and what ``requests`` raises.
    """
    msal = _import("msal", "microsoft")
    with closing(_session("microsoft")) as session:
        application = msal.ConfidentialClientApplication(
            client_id,
            client_credential=_credential(client_secret, certificate),
            authority=f"{authority.rstrip('/')}/{tenant}",
            instance_discovery=False,  # it would ask another server whether to trust this one
            http_client=session,
        )
        answer = application.acquire_token_for_client(scopes=[scope])
    if "access_token" not in answer:
        raise TokenUnavailable(f"{answer.get('error')}: {answer.get('error_description')}")
    return answer["access_token"], float(answer["expires_in"])


def google(
    *,
    alias: str | None,  # noqa: ARG001 - every token function is called with it
    username: str,
    service_account: str | Mapping[str, Any],
    scope: str = _GOOGLE_SCOPE,
) -> tuple[str, datetime]:
    """Get a token from Google by a service account with domain-wide delegation.

    ``service_account`` is the path of the JSON file with its key, or what stands in that file.
    ``username`` is the mailbox that it acts for. Returns the token, and when it ends. Raises
    ValueError for a key that can't be read, and what ``google-auth`` raises.
    """
    module = _import("google.oauth2.service_account", "google")
    transport = _import("google.auth.transport.requests", "google")
    kind = module.Credentials
    is_file = isinstance(service_account, str)
    make = kind.from_service_account_file if is_file else kind.from_service_account_info
    credentials = make(service_account, scopes=[scope], subject=username)
    with closing(_session("google")) as session:
        credentials.refresh(partial(transport.Request(session), timeout=_TIMEOUT))
    return credentials.token, credentials.expiry.replace(tzinfo=UTC)


def _credential(secret: str | None, certificate: str | None) -> str | dict[str, str]:
    if (secret is None) == (certificate is None):
        raise ImproperlyConfigured(
            "Microsoft's options need either 'client_secret' or 'certificate', and not both"
        )
    if certificate is None:
        return secret or ""
    try:
        text = Path(certificate).read_text("ascii")
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(
            f"the option 'certificate' is no PEM file that can be read: {type(error).__name__}"
        ) from None
    return {"private_key": text, "public_certificate": text}


def _session(extra: str) -> Any:
    """A connection pool of ``requests`` that waits for no step longer than that."""
    session = _import("requests", extra).Session()
    session.request = partial(session.request, timeout=_TIMEOUT)
    return session


def _import(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"mailqueue.oauth2.{extra} needs what the extra brings: "
            f'pip install "mailqueue[{extra}]" ({error})'
        ) from None
