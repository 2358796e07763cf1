"""Whose mistake a refusal is, by its words: our own, perhaps our own, or the message's.

Servers have no code for "you are set up wrongly". What they say instead is held, server by server,
in ``tests/delivery/test_refusal.py``.
"""

from __future__ import annotations

import re
from enum import IntEnum

from .outcome import Outcome, Verdict

_REPLY = re.compile(r"([45]\d\d)\b(.*)", re.DOTALL)
_OUT_OF_ORDER = 503  # "say HELO first": about the order of commands, not about a name
_LOGIN_WANTED = 530  # RFC 4954 6
_FOR_GOOD = (550, 551, 553, 554, 571)  # not 552, which is about sizes
# Enhanced codes of security and policy (RFC 3463 3.8), but for those about the mailbox alone: a
# list that others may not write to, an account that is closed or has another owner (RFC 7293).
# 5.7.0 and 5.7.1 are said of everything, and many servers have no such codes at all, so that the
# words have to tell.
_POLICY = re.compile(r"(?<![\d.])5\.7\.(?!(?:0|1|2|13|17|18)\b)\d{1,3}(?![\d.]*\d)")
_UNDEFINED = re.compile(r"(?<![\d.])5\.7\.[01](?![\d.]*\d)")
_ENHANCED = re.compile(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
_NOT_PERMITTED = re.compile(
    r"\b(?:denied|permi(?:t|ssion)\w*|allow(?:ed)?|\w*authori[sz]ed|block(?:ed|list\w*)|prohibit\w*"
    r"|not logged in|not accepted from)\b",
    re.I,
)
# What stands in a reply without being its words: addresses, names of hosts, codes.
_NAMED = re.compile(r"<[^>]*>|\[[^\]]*\]|\S*@\S*|[\w-]+(?:\.[\w-]+)+")
_NAME_REFUSED = re.compile(r"\b(?:helo|ehlo)\b|fully.qualified (?:host|domain) ?name", re.I)
_TLS = r"(?:start ?tls|tls|ssl|encrypt\w*|secure (?:connection|channel))"
_WANTS = r"(?:must|required?|requires|needs?|needed|mandatory|only)"
_TLS_WANTED = re.compile(
    rf"\b(?:{_TLS}\b.{{0,40}}\b{_WANTS}|{_WANTS}\b.{{0,40}}\b{_TLS}|use {_TLS}|encryption too weak"
    r"|plain ?text\b.{0,40}\b(?:not|un\w+|den\w+|refus\w*))\b",
    re.I,
)
_DENIED = r"(?:no|not|un\w+|can ?not|\w+n't|den\w+|prohibit\w*|reject\w*|refus\w*|invalid|disabled)"
_NOT_FOR_US = re.compile(
    rf"\brelay\w*\b.{{0,60}}\b{_DENIED}\b|\b{_DENIED}\b.{{0,60}}\brelay|\bas a relay\b"
    r"|\brcpthosts?\b|\bnot a gateway\b|\bcannot deliver mail for\b|\bdon't handle mail for\b"
    rf"|\b{_WANTS}\b.{{0,40}}\b(?:authenticat\w+|log ?in|auth)\b"
    rf"|\b(?:authenticat\w+|authori[sz]ation|auth|log ?in)\b.{{0,20}}\b(?:{_WANTS}|first)\b"
    r"|\b(?:not|un) ?(?:been )?authenticated\b|\bpermissions? to send\b|\bnot owned by user\b"
    r"|\bsend ?as ?(?:denied)?\b|\bclient host rejected\b|\b(?:not|match a) verified\b"
    r"|\bnot (?:allow|permitt|authori[sz])ed to (?:send|use|submit|perform)\b",
    re.I,
)

SEE_LOGIN = "said of all so far: see whether the server wants a login, or has to know this host"
SET_NAME = "set MAILQUEUE['EHLO_NAME'] to this host's name in the DNS"


class Blame(IntEnum):
    """Whose mistake a refusal is."""

    OURS = 0  # surely: each message would be refused like that
    DOUBTFUL = 1  # ours, if the server says so of all; else the message's, or the recipient's
    THEIRS = 2


def blame_for(outcome: Outcome, *, encrypted: bool) -> Blame:
    """Whose mistake it is that nobody was accepted; THEIRS where somebody was, or may have been.

    ``encrypted`` says that the connection is, so that a wish for TLS speaks of somebody else's.
    """
    answers = outcome.answers.values()
    refusals = (Verdict.DEFERRED, Verdict.REFUSED)
    if not answers or not outcome.is_whole or any(a.verdict not in refusals for a in answers):
        return Blame.THEIRS
    return max(_blame(a.reply, encrypted, outcome.turned_away) for a in answers)


def is_name_refused(reply: str) -> bool:
    """Whether the server doesn't take the name by which we greet it."""
    code, words = _read(reply)
    return code not in (0, _OUT_OF_ORDER) and bool(_NAME_REFUSED.search(words))


def is_tls_wanted(reply: str) -> bool:
    """Whether the server wants an encrypted connection."""
    return bool(_TLS_WANTED.search(_read(reply)[1]))


def advice(reply: str) -> str:
    """The reply, and what to do about it where its words tell."""
    if is_name_refused(reply):
        return f"{reply} ({SET_NAME})"
    if is_tls_wanted(reply):
        return f"{reply} (set EMAIL_USE_TLS, or a mailer's option use_tls)"
    return reply


def _blame(reply: str, encrypted: bool, turned_away: bool) -> Blame:
    code, words = _read(reply)
    # What comes later may speak of the content: of an encrypted file, or of what looks like spam.
    speaks_of_tls = turned_away or "STARTTLS" in words.upper()
    if not encrypted and speaks_of_tls and is_tls_wanted(reply):
        return Blame.OURS
    if _NOT_FOR_US.search(words):  # before HELO, which Gmail's relay names in this too
        return Blame.DOUBTFUL
    if is_name_refused(reply):
        return Blame.OURS
    is_policy = code == _LOGIN_WANTED or bool(_POLICY.search(reply))
    is_open = bool(_UNDEFINED.search(reply)) or (code in _FOR_GOOD and not _ENHANCED.search(reply))
    is_policy = is_policy or (is_open and bool(_NOT_PERMITTED.search(words)))
    return Blame.DOUBTFUL if turned_away and is_policy else Blame.THEIRS


def _read(reply: str) -> tuple[int, str]:
    """The code, 0 where it is no refusal, and the words without what they are about."""
    match = _REPLY.match(reply)
    return (int(match[1]), _NAMED.sub(" ", match[2])) if match else (0, "")
