"""A mail server's login by tokens, as Microsoft and Google document theirs."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable

from tests.scripted import ScriptedServer, Session

USER = "news@example.com"
ERROR = {"status": "401", "schemes": "bearer mac", "scope": "https://mail.google.com/"}
GOOGLE_SAYS = "535 5.7.8 Username and Password not accepted."
MICROSOFT_SAYS = "535 5.7.3 Authentication unsuccessful [AM0PR01.example 2026-11-30]"
WITHOUT_LOGIN = "530 5.7.57 Client not authenticated to send mail."
GOOGLES = ("AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH", "PIPELINING")
MICROSOFTS = ("AUTH LOGIN XOAUTH2", "PIPELINING", "CHUNKING")


class Door:
    """Lets in who brings a token that ``accepts`` says yes to; refuses the others as Google does.

    With ``at_once`` it refuses as Microsoft does, without an error in a 334 first.
    """

    def __init__(self, accepts: Callable[[str], bool], *, at_once: bool = False) -> None:
        self.accepts = accepts
        self.at_once = at_once
        self.brought: list[str] = []  # tokens, in order
        self.responses: list[bytes] = []
        self.ends: list[str] = []  # how clients ended an exchange that had failed
        self._state: dict[int, str] = {}  # of each session

    def at(self, features: tuple[str, ...]) -> ScriptedServer:
        """A server with that door."""
        return ScriptedServer(self, features)

    def __call__(self, session: Session, phase: str, command: str) -> str | None:
        state = self._state.get(session.number, "")
        if state == "asked":
            return self._hear(session, command)
        if state == "refused":
            self.ends.append(command)
            self._state[session.number] = ""
            return GOOGLE_SAYS
        if phase == "AUTH":
            _, _mechanism, *response = command.split(" ")
            if response:
                return self._hear(session, response[0])
            self._state[session.number] = "asked"
            return "334 "
        return WITHOUT_LOGIN if phase == "MAIL" and state != "in" else None

    def shut(self) -> None:
        """Forget who has logged in."""
        self._state.clear()

    def _hear(self, session: Session, response: str) -> str:
        self.responses.append(b64decode(response))
        fields = self.responses[-1].decode().split("\x01")
        token = next(field for field in fields if field.startswith("auth=")).split(" ")[1]
        self.brought.append(token)
        if self.accepts(token):
            self._state[session.number] = "in"
            return "235 2.7.0 Accepted"
        self._state[session.number] = "" if self.at_once else "refused"
        return MICROSOFT_SAYS if self.at_once else f"334 {encoded(ERROR)}"


def encoded(error: dict[str, str]) -> str:
    return b64encode(json.dumps(error).encode()).decode()
