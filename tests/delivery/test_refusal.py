"""What mail servers say to a client that is set up wrongly, and what only sounds like it."""

from __future__ import annotations

import pytest

from mailqueue.delivery.outcome import Answer, Outcome, Verdict
from mailqueue.delivery.refusal import Blame, advice, blame_for

NAME_REFUSED = [
    # Postfix: reject_non_fqdn_, reject_invalid_ and reject_unknown_helo_hostname, an access table
    "504 5.5.2 <6f1c2e0b9a7d>: Helo command rejected: need fully-qualified hostname",
    "501 5.5.2 <a_b>: Helo command rejected: Invalid name",
    "450 4.7.1 <worker.invalid>: Helo command rejected: Host not found",
    "554 5.7.1 <www.example.com>: Helo command rejected: Access denied",
    # Exim: helo_syntax, and the rules that cPanel's and others' configurations have
    "501 Syntactically invalid EHLO argument(s)",
    "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "550 REJECTED - Bad HELO - Host impersonating [mail.example.com]",
    # Haraka's helo.checks, qpsmtpd's check_spamhelo, others' own
    "550 HELO must be a FQDN or address literal (RFC5321 2.3.5)",
    "550 Sorry, I don't believe that you are yahoo.com, mind your EHLO.",
    "550 5.7.1 This host's HELO name does not match its address",
    "504 5.5.2 <6f1c2e0b9a7d>: need fully-qualified hostname",
]
TLS_WANTED = [
    "530 5.7.0 Must issue a STARTTLS command first",  # RFC 3207: Postfix, Sendmail, Gmail
    "530 5.5.1 Invalid command: Must issue a STARTTLS command first",  # OpenSMTPD
    "530 Must issue a STARTTLS command first (#5.7.0)",  # qmail with TLS
    "451 5.7.3 STARTTLS is required to send mail",  # Exchange
    "451 5.7.3 Must issue a STARTTLS command first",
    "550 5.7.1 Must issue a STARTTLS command first",
    "450 4.7.1 Session encryption is required",  # Postfix: reject_plaintext_session
    "403 4.7.0 encryption too weak 0 less than 112",  # Sendmail: an access table
    "550 5.7.1 TLS required",
    "523 5.7.10 Encryption Needed",  # RFC 5248
    # Others' words for it
    "550 Plaintext connections are not allowed here",
    "550 Secure connection required",
    "554 Insecure connection, please use TLS",
]
NOT_FOR_US = [
    # Postfix: smtpd_relay_restrictions by default, and as projects set it
    "454 4.7.1 <ann@example.com>: Relay access denied",
    "554 5.7.1 <ann@example.com>: Relay access denied",
    "553 5.7.1 <me@example.com>: Sender address rejected: not owned by user you@example.com",
    "553 5.7.1 <me@example.com>: Sender address rejected: not logged in",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
    # Exim
    "550 relay not permitted",
    "550 Relay not permitted, authentication required",
    "550 example.com is not permitted to relay through this server without authentication",
    # Sendmail
    "550 5.7.1 <ann@example.com>... Relaying denied. Proper authentication required.",
    "550 5.7.1 <ann@example.com>... Relaying denied. IP name lookup failed [192.0.2.1]",
    "550 5.7.1 Relaying denied",
    # Exchange, Office 365
    "550 5.7.1 Unable to relay for ann@example.com",
    "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
    "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
    "530 5.7.1 Client was not authenticated",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "550 5.7.64 TenantAttribution; Relay Access Denied",
    "451 5.7.3 Require basic authentication",
    "554 5.2.252 SendAsDenied; app@example.com not allowed to send as ann@example.com",
    # Gmail, and its relay
    "530 5.7.0 Authentication Required. For more information, go to example.com",
    "550 5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay for one of the "
    "domains in: example.com (as obtained from HELO and MAIL FROM).",
    # qmail, Haraka, OpenSMTPD, MailEnable
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "550 I cannot deliver mail for <ann@example.com>",
    "530 5.5.1 Invalid command: Must issue an AUTH command first",
    "503 This mail server requires authentication when attempting to send to a non-local e-mail "
    "address.",
    "530 Authentication required",
    "550 Authorization required",
    # Servers without enhanced codes
    "550 Access denied",
    "550 Sender not permitted",
    "553 sender domain not allowed",
    "550 you are not permitted to use this server",
    "571 Delivery not authorized, message refused",
    # Postfix: reject_unknown_client_hostname
    "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
    "550 5.7.1 Client host rejected: cannot find your hostname",
]
THEIRS = [
    "504 5.5.2 <ann>: Recipient address rejected: need fully-qualified address",
    "504 5.5.2 <root>: Sender address rejected: need fully-qualified address",
    "550 5.1.1 <helo@ehlo.example.com>: Recipient address rejected: User unknown",
    "550 5.1.2 helo.example.com is unknown here",
    "450 4.2.0 <ann@example.com>: Recipient address rejected: Greylisted",
    "450 4.7.1 <ann@example.com>: Recipient address rejected: Greylisting in action",
    "451 4.7.500 Server busy. Please try again later from [192.0.2.1].",
    "503 5.5.1 Error: send HELO/EHLO first",
    "503 5.5.1 Polite people say HELO first",
    "550 5.7.2 <list@example.com>: not allowed to post here",  # RFC 3463: of one mailing list
    "550 5.7.13 User account is disabled",  # RFC 7505
    "552 5.2.2 Mailbox full",
    "550 5.7.1 no",
    "550 5.7.1 <ann@example.com>: Recipient address rejected: SPF",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
    "550 address 192.5.7.1 is of no use",
    "451 4.3.0 relay.example.com: the queue file can't be written",
    "552 Message size exceeds the maximum permitted",
    "451 Greylisted, allowed in 300 seconds",
    "550 5.4.1 <ann@example.com>: Recipient address rejected: Access denied",  # Office 365: unknown
]
# What services say of a sender whom they don't know, once they have read the message.
SENDER_UNKNOWN = [
    "554 Message rejected: Email address is not verified. The following identities failed the "
    "check in region US-EAST-1: me@example.com",
    "554 Access denied: User `app' is not authorized to perform `ses:SendRawEmail'",
    "550 The from address does not match a verified Sender Identity. Mail cannot be sent until "
    "this error is resolved.",
]
CONTENT = [
    "554 5.7.1 Spam message rejected",
    "550 5.7.1 Encrypted attachments need a password that we know",
    "552 5.7.0 This message was blocked because its content presents a security issue",
    "554 5.7.1 rejected, score 9: FAKE_HELO, HELO_DYNAMIC_IPADDR",
]


def outcome(*replies: str, turned_away: bool = True, is_whole: bool = True) -> Outcome:
    answers = {
        f"to{n}@example.com": Answer(
            {"2": Verdict.ACCEPTED, "4": Verdict.DEFERRED}.get(reply[0], Verdict.REFUSED), reply
        )
        for n, reply in enumerate(replies)
    }
    return Outcome(answers, turned_away, is_whole)


@pytest.mark.parametrize("reply", [*NAME_REFUSED, *TLS_WANTED])
def test_a_refusal_of_our_name_or_of_clear_text_is_ours(reply: str) -> None:
    """Each message would be refused like that: no wait for others is needed to see it."""
    assert blame_for(outcome(reply), encrypted=False) is Blame.OURS
    assert advice(reply).startswith(reply + " (set ")


@pytest.mark.parametrize("reply", NAME_REFUSED)
def test_a_name_is_ours_at_whatever_step_it_is_refused(reply: str) -> None:
    """Servers put that off, as Postfix does to RCPT, or DATA."""
    assert blame_for(outcome(reply, turned_away=False), encrypted=True) is Blame.OURS


@pytest.mark.parametrize("reply", TLS_WANTED)
def test_who_wants_tls_of_an_encrypted_connection_speaks_of_another(reply: str) -> None:
    """Of the recipient's own server, say."""
    assert blame_for(outcome(reply), encrypted=True) is not Blame.OURS


@pytest.mark.parametrize("reply", NOT_FOR_US)
def test_a_refusal_to_relay_may_be_ours(reply: str) -> None:
    """A login may be missing, or that one recipient be out of reach."""
    assert blame_for(outcome(reply), encrypted=True) is Blame.DOUBTFUL
    assert blame_for(outcome(reply), encrypted=False) is Blame.DOUBTFUL


@pytest.mark.parametrize("reply", SENDER_UNKNOWN)
def test_a_sender_whom_a_service_does_not_know_may_be_ours(reply: str) -> None:
    """It says so after the content, of every message until the sender is registered there."""
    assert blame_for(outcome(reply, turned_away=False), encrypted=True) is Blame.DOUBTFUL


@pytest.mark.parametrize("reply", THEIRS)
def test_other_refusals_are_the_messages_own(reply: str) -> None:
    """They are charged, and tried again or failed, as ever."""
    assert blame_for(outcome(reply), encrypted=False) is Blame.THEIRS


@pytest.mark.parametrize("reply", CONTENT)
def test_a_refusal_of_the_content_is_the_messages_own(reply: str) -> None:
    """Policies speak of it in the same codes, and of its encryption in the same words."""
    assert blame_for(outcome(reply, turned_away=False), encrypted=False) is Blame.THEIRS


@pytest.mark.parametrize(
    "mixed",
    [
        outcome(NAME_REFUSED[0], "250 OK"),
        outcome(NAME_REFUSED[0], "550 5.1.1 User unknown"),
        outcome(NAME_REFUSED[0], is_whole=False),
        Outcome({"to@example.com": Answer(Verdict.IN_DOUBT, NAME_REFUSED[0])}),
        outcome(),
    ],
    ids=["accepted", "unknown", "several servers", "in doubt", "nobody"],
)
def test_who_may_have_got_it_makes_it_no_mistake_of_ours(mixed: Outcome) -> None:
    """Where somebody was served, or may have been, the message isn't sent again at no cost."""
    assert blame_for(mixed, encrypted=False) is Blame.THEIRS


def test_the_least_of_several_refusals_decides() -> None:
    """A name that is refused for one recipient, and a relay for the other, may be ours."""
    mixed = outcome(NAME_REFUSED[0], NOT_FOR_US[0])
    assert blame_for(mixed, encrypted=False) is Blame.DOUBTFUL
