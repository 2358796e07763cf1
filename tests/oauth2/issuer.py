"""A token endpoint on this machine, which answers as Microsoft's and Google's are documented to.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate

TENANT, CLIENT, SECRET = "contoso.example", "11111111-2222-4333-8444-555555555555", "s3cr~et+value"
MAILBOX = "news@example.com"
_GOOGLES_AUDIENCE = "https://oauth2.googleapis.com/token"  # wherever token_uri leads
ACCOUNT = "mailer@project.iam.gserviceaccount.com"


class Issuer:
    """Issues ``token-1``, ``token-2`` …; ``mode`` is ``ok``, ``refuse``, ``down`` or ``hang``."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.mode = "ok"
        self.life = 3600
        self.requests: list[dict[str, str]] = []
        self.certificate = ""  # whose key signs a client assertion
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.issuer = self
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def newest(self) -> str:
        """The last token that was issued."""
        return f"token-{len(self.requests)}"

    @property
    def service_account(self) -> dict[str, str]:
        """What Google's JSON file has."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "1",
            "private_key": key.decode(),
            "token_uri": f"{self.url}/token",
        }

    def __enter__(self) -> Issuer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a request for a token."""
        self.requests.append(form)
        if self.mode == "hang":
            self._over.wait(60)
        if self.mode == "down":
            return 500, {"error": "server_error", "error_description": "try again later"}
        is_google = path == "/token"
        claims = self._google_claims(form) if is_google else self._microsoft_claims(form)
        if claims is None or self.mode == "refuse":
            return 401, {
                "error": "invalid_client",
                "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace ID: 1",
            }
        return 200, {"token_type": "Bearer", "expires_in": self.life, "access_token": self.newest}

    def _google_claims(self, form: dict[str, str]) -> dict[str, Any] | None:
        if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return None
        claims = jwt.decode(
            form["assertion"], self._key.public_key(), ["RS256"], audience=_GOOGLES_AUDIENCE
        )
        found = (claims["iss"], claims["scope"], claims.get("sub"))
        return claims if found == (ACCOUNT, "https://mail.google.com/", MAILBOX) else None

    def _microsoft_claims(self, form: dict[str, str]) -> dict[str, Any] | None:
        wanted = ("client_credentials", CLIENT, "https://outlook.office365.com/.default")
        if (form["grant_type"], form["client_id"], form["scope"]) != wanted:
            return None
        if "client_assertion" in form:
            return self._asserted(form["client_assertion"])
        return {} if form.get("client_secret") == SECRET else None

    def _asserted(self, assertion: str) -> dict[str, Any]:
        key = load_pem_x509_certificate(self.certificate.encode()).public_key()
        endpoint = f"{self.url}/{TENANT}/oauth2/v2.0/token"
        return jwt.decode(assertion, key, ["PS256", "RS256"], audience=endpoint)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    issuer: Issuer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        base = f"{self.server.issuer.url}/{TENANT}"
        self._send(
            200,
            {
                "issuer": f"{base}/v2.0",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            },
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._send(*self.server.issuer.answer(self.path, dict(parse_qsl(body))))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to say."""
