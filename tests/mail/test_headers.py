"""Header fields: which there are, what overrides them, how they are written."""

from __future__ import annotations

import email.header
import pickle
import re
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.utils import getaddresses, parsedate_to_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mailqueue
from mailqueue import BadHeaderError, EmailMessage
from mailqueue.mail.address import envelope_address as envelope
from mailqueue.mail.header import make_header

LINE_ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]


def field(name: str, value: str) -> str:
    """The value of that header as it is folded."""
    rendered = EmailMessage(headers={name: value}).message().as_bytes().decode()
    head = rendered.partition("\n\n")[0] + "\n"
    return re.search(rf"(?ms)^{name}: ?(.*?)(?=^\S|\Z)", head)[1]


def decoded(value: str) -> str:
    """The text with its encoded words decoded, by Python's older and more correct parser."""
    return str(email.header.make_header(email.header.decode_header(value)))


def test_the_fields_of_a_message() -> None:
    """A message has these fields, in this order."""
    message = EmailMessage(
        "s", "b", "a@b.c", ["d@e.f"], cc=["g@h.i"], reply_to=["j@k.l"], headers={"X-More": "x"}
    )
    assert message.message().keys() == [
        *["Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Subject", "From", "To"],
        *["Cc", "Reply-To", "Date", "Message-ID", "X-More"],
    ]


@pytest.mark.parametrize("spell", [str.title, str.lower, str.upper])
def test_headers_override_attributes(spell) -> None:
    """From, To, Cc, Reply-To, Message-ID and Date of ``headers`` win, in any case of letters."""
    given = {
        spell("from"): "Real <from@x.y>",
        spell("to"): "list@x.y",
        spell("cc"): "cc@x.y",
        spell("reply-to"): "reply@x.y",
        spell("message-id"): "<foo@x.y>",
        spell("date"): "Fri, 09 Nov 2001 01:08:47 -0000",
    }
    message = EmailMessage(
        "s", "b", "a@b.c", ["d@e.f"], cc=["g@h.i"], reply_to=["j@k.l"], headers=given
    )
    built = message.message()
    assert {name: built.get_all(name) for name in given} == {n: [v] for n, v in given.items()}
    assert message.recipients() == ["d@e.f", "g@h.i"]
    assert message.from_email == "a@b.c"


def test_a_bcc_header_is_refused() -> None:
    """A Bcc header would show what must stay hidden: ValueError, with the way to do it."""
    with pytest.raises(ValueError, match='Use the "bcc" argument'):
        EmailMessage(headers={"bcc": "a@b.c"}).message()


@pytest.mark.parametrize("name", ["Subject", "Content-Type", "MIME-Version"])
def test_a_header_that_is_there_already_is_refused(name) -> None:
    """Two subjects in one message mean what each reader likes: ValueError."""
    with pytest.raises(ValueError, match="There may be at most 1"):
        EmailMessage("s", "b", headers={name: "text/x"}).message()


@pytest.mark.parametrize("end", LINE_ENDS)
def test_no_header_takes_a_line_end(end) -> None:
    """A newline in any header is a BadHeaderError, which is a ValueError, and names the header."""
    evil = f"a{end}Bcc: x@y.z"
    attempts = {
        "Subject": {"subject": evil},
        "From": {"from_email": f"{evil} <a@b.c>"},
        "To": {"to": [f"{evil} <a@b.c>"]},
        "Cc": {"cc": [evil]},
        "Bcc": {"bcc": [evil]},
        "Reply-To": {"reply_to": ["a@b.c", evil]},
        "X-Evil": {"headers": {"X-Evil": evil}},
        "Message-ID": {"headers": {"Message-ID": evil}},
    }
    for name, arguments in attempts.items():
        with pytest.raises(BadHeaderError, match=f"for header '{name}'") as raised:
            EmailMessage(**arguments).message()
        assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("name", ["X\nY", "X Y", "X:Y", "Grüße", "", "X\x00"])
def test_a_header_name_is_checked_too(name) -> None:
    """A name with a newline would be a header injected as well as a value with one."""
    with pytest.raises(ValueError, match="Header names may only have printable ASCII"):
        EmailMessage(headers={name: "x"}).message()


@pytest.mark.parametrize("name", [3, None, b"X-A"])
def test_a_header_name_that_is_no_string_is_an_error_that_names_it(name) -> None:
    """It failed with whatever the name's type lacks."""
    with pytest.raises(TypeError, match=f"name of a header must be a string, not {name!r}"):
        EmailMessage(headers={name: "x"}).message()


def test_a_newline_hidden_in_an_encoded_word_is_found() -> None:
    """Python writes such a newline out when it folds the header (CVE-2024-6923)."""
    with pytest.raises(BadHeaderError, match="X-Evil"):
        EmailMessage(headers={"X-Evil": "=?utf-8?q?a=0ABcc=3A_x=40y.z?="}).message()
    with pytest.raises(ValueError, match=r"To|linefeed"):
        EmailMessage(to=["=?utf-8?q?a=0ABcc=3A_x=40y.z?= <a@b.c>"]).message()


def test_nothing_is_sent_with_a_bad_header(outbox) -> None:
    """The error comes before the message reaches the backend's outbox."""
    with pytest.raises(ValueError, match="linefeed"):
        mailqueue.send_mail("Subject\nBcc: x@y.z", "Body", None, ["a@b.c"])
    assert outbox == []


def test_a_nul_and_a_lone_surrogate_are_refused() -> None:
    """Neither can be written in a header; both are ValueErrors at once."""
    with pytest.raises(ValueError, match="NUL"):
        EmailMessage("a\0b").message()
    with pytest.raises(ValueError, match=r"surrogates not allowed \(in the header 'Subject'\)"):
        EmailMessage("a\ud800b").message()


@pytest.mark.parametrize("end", ["\x0b", "\u2028"])
def test_the_error_for_a_rare_line_end_speaks_of_such(end) -> None:
    """A linefeed or carriage return would be looked for in vain."""
    with pytest.raises(BadHeaderError, match="any other line end"):
        EmailMessage(f"a{end}b").message()
    with pytest.raises(BadHeaderError, match="any other line end"):
        envelope(f"ann@example.com{end}")


def test_an_address_that_breaks_the_parser_is_a_value_error() -> None:
    """Python's parser fails with IndexError on this in some versions; the caller never sees it."""
    with pytest.raises(ValueError, match="ann@"):
        EmailMessage(to=["ann@"], headers={"Sender": "ann@"}).message().as_bytes() + envelope(
            "ann@"
        )


def test_an_address_that_breaks_the_folding_is_a_value_error() -> None:
    """Here some versions of Python fail with IndexError, in the worker if nobody looks before."""
    sender = '"Y  |],🎉#🎉[0&ö[ ;bX" ,@[" <a..b@bücher.example>'
    try:
        EmailMessage("s", "b", sender).message(policy=policy.SMTPUTF8).as_bytes()
    except ValueError as error:
        assert "From can't be " in str(error)  # noqa: PT017 - newer versions of Python write it


def test_names_and_subjects_outside_ascii_are_encoded() -> None:
    """Encoded words on the wire; the text in the parsed message."""
    message = EmailMessage("Grüße", "b", "Jürgen <j@b.c>", ['"Dé, Jr" <d@e.f>'])
    rendered = message.message().as_bytes()
    assert b"Subject: =?utf-8?" in rendered
    parsed = message_from_bytes(rendered, policy=policy.default)
    assert (parsed["Subject"], str(parsed["From"])) == ("Grüße", "Jürgen <j@b.c>")
    assert parsed["To"].addresses == (Address("Dé, Jr", "d", "e.f"),)


def test_domains_outside_ascii_are_idna() -> None:
    """In every address header, those of ``headers`` too."""
    message = EmailMessage(
        "s", "b", "Ä <a@bücher.example>", ["b@bücher.example"], headers={"Cc": "c@bücher.example"}
    )
    built = message.message()
    assert str(built["From"]) == "Ä <a@xn--bcher-kva.example>"
    assert (built["To"], built["Cc"]) == ("b@xn--bcher-kva.example", "c@xn--bcher-kva.example")


def test_a_local_part_outside_ascii_needs_smtputf8() -> None:
    """It can't be encoded (RFC 2047 forbids it): ValueError without a policy for it."""
    built = EmailMessage("s", "b", "jörg@example.com").message()
    with pytest.raises(ValueError, match=r"'jörg@example.com': local-part contains non-ASCII"):
        built.as_bytes()
    assert "jörg@example.com".encode() in built.as_bytes(policy=policy.SMTPUTF8)


def test_a_date_is_utc_unless_a_setting_says_local() -> None:
    """EMAIL_USE_LOCALTIME gives the local zone; else UTC."""
    date = EmailMessage().message()["Date"]
    assert date.endswith(" +0000")
    assert abs(parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() < 60
    mailqueue.configure(EMAIL_USE_LOCALTIME=True)
    local = parsedate_to_datetime(EmailMessage().message()["Date"])
    assert local.utcoffset() == datetime.now().astimezone().utcoffset()


def test_the_local_zone_is_written(monkeypatch) -> None:
    """In Tokyo the date ends in +0900."""
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        mailqueue.configure(EMAIL_USE_LOCALTIME=True)
        assert EmailMessage().message()["Date"].endswith(" +0900")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_may_be_a_datetime() -> None:
    """The header formats it."""
    when = datetime(2020, 1, 1, tzinfo=UTC)
    assert EmailMessage(headers={"Date": when}).message()["Date"] == (
        "Wed, 01 Jan 2020 00:00:00 +0000"
    )


def test_each_message_has_an_id_of_its_own() -> None:
    """Message-IDs differ, are in angle brackets, and end in this host's name."""
    ids = {EmailMessage().message()["Message-ID"] for _ in range(10)}
    assert len(ids) == 10
    assert all(re.fullmatch(rf"<\S+@{mailqueue.DNS_NAME}>", id_) for id_ in ids)


def test_make_msgid_takes_a_domain() -> None:
    """The helper makes an id for another host."""
    assert re.fullmatch(r"<\S+\.mark@example\.com>", mailqueue.make_msgid("mark", "example.com"))


def test_a_long_url_in_a_list_header_stays_readable() -> None:
    """Python would write it as encoded words, which no reader decodes there."""
    url = "<https://example.com/unsubscribe/" + "a" * 150 + ">"
    assert field("List-Unsubscribe", url).strip() == url


def test_json_in_a_header_stays_readable() -> None:
    """Spaces are the only places where it is folded."""
    value = '{"to": "' + "b" * 100 + '", "c": [1, 2], "d": "' + "e" * 60 + '"}'
    written = field("X-SMTPAPI", value)
    assert "\n " in written
    assert written.replace("\n", "").strip() == value


def test_a_long_subject_is_folded() -> None:
    """No line is longer than 78 characters, and the subject reads as it was."""
    subject = "Ein sehr langer Betreff über Füße und Größe " * 6
    rendered = EmailMessage(subject.strip(), "b").message().as_bytes()
    assert max(len(line) for line in rendered.splitlines()) <= 78
    assert message_from_bytes(rendered, policy=policy.default)["Subject"] == subject.strip()


name = st.text(
    st.sampled_from("abcdefghij" * 3 + 'äöü漢 ,.;:<>@()"\\[]') | st.characters(codec="utf-8"),
    max_size=90,
).filter(lambda value: value == " ".join(value.split()) and value.isprintable())
user = st.text("abcdef0123.+-_", min_size=1, max_size=20).map(lambda value: value.strip(".") or "x")


@settings(max_examples=settings.default.max_examples * 3)
@given(people=st.lists(st.tuples(name, user), min_size=1, max_size=6))
@example(people=[("Doe, Jane " + "and more " * 12 + "x", "jane")] * 3)
@example(people=[("A véry long name with non-ASCII char and, comma", "to")] * 2)
@example(people=[("a", "0"), ("René", "000000000000000000000000"), ("a", "0")])
def test_names_survive_folding(people) -> None:
    """Whatever the names and however many, every recipient is read back as he was written.

    Python's own folding loses quotes and writes a comma as an encoded word, so that one address
    turns into two or two into one.
    """
    wanted = [Address(n, re.sub(r"\.+", ".", u), "example.com") for n, u in people]
    header = make_header("To", ", ".join(str(address) for address in wanted), policy.default)
    rendered = header.fold(policy=policy.default)
    assert all(len(line) <= 998 for line in rendered.splitlines())
    value = rendered.removeprefix("To: ").replace("\n", "")
    read = [(decoded(name), address) for name, address in getaddresses([value])]
    assert read == [(a.display_name, a.addr_spec) for a in wanted]


@settings(max_examples=settings.default.max_examples * 3)
@given(value=st.text(st.characters(codec="utf-8"), max_size=300).filter(str.isprintable))
def test_texts_survive_folding(value) -> None:
    """A subject reads as it was written, apart from spaces at its ends."""
    subject = " ".join(value.split())
    if "=?" in subject:
        return
    rendered = make_header("Subject", subject, policy.default).fold(policy=policy.default)
    unfolded = rendered.removeprefix("Subject:").replace("\n", "").strip(" ")
    assert decoded(unfolded) == subject


def test_a_group_survives_folding() -> None:
    """A group of addresses keeps its name and its members."""
    names = ", ".join(f'"Doe, {n} with a rather long name" <{n}@example.com>' for n in "abc")
    header = make_header("To", f"Our members: {names};", policy.default)
    rendered = header.fold(policy=policy.default).removeprefix("To: ").replace("\n", "")
    (group,) = policy.default.header_factory("To", rendered).groups
    assert group.display_name == "Our members"
    assert [address.username for address in group.addresses] == ["a", "b", "c"]


def test_headers_can_be_pickled() -> None:
    """A built message may cross a process boundary."""
    built = EmailMessage("Grüße", "b", "Ä <a@b.c>", ["d@e.f"]).message()
    assert pickle.loads(pickle.dumps(built)).as_bytes() == built.as_bytes()


def test_somebodys_own_header_factory_is_respected() -> None:
    """A policy with a header factory of its own makes the headers by it."""
    made = []

    mine = policy.default.clone(header_factory=_Factory(made))
    EmailMessage("s", "b", "a@b.c").message(policy=mine)
    assert "Subject" in made


class _Factory(type(policy.default.header_factory)):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def __call__(self, name, value):
        self.made.append(name)
        return super().__call__(name, value)


@pytest.mark.parametrize("name", ["To", "From", "Cc", "Reply-To", "Date"])
def test_a_header_given_twice_is_refused(name) -> None:
    """In two spellings: neither is dropped in silence."""
    value = "Fri, 09 Nov 2001 01:08:47 -0000" if name == "Date" else "a@b.c"
    message = EmailMessage("s", "b", headers={name: value, name.lower(): value})
    with pytest.raises(ValueError, match=f"at most 1 {name.lower()} headers in a message"):
        message.message()


def test_a_url_that_fits_stays_on_the_first_line() -> None:
    """It is not moved to the next one, which would leave the first with nothing but the name."""
    url = "<https://example.com/" + "a" * 42 + ">"
    assert field("List-Unsubscribe", url) == f"{url}\n"


@pytest.mark.parametrize("name", ["To", "Cc", "Reply-To", "From", "Resent-To", "X-List"])
def test_a_list_in_headers_is_joined(name) -> None:
    """Its empty entries are left out, as those of ``to`` are; bytes are UTF-8."""
    given = ["a@x.y", None, "", b"b@x.y"]
    assert EmailMessage(headers={name: given}).message()[name] == "a@x.y, b@x.y"


@pytest.mark.parametrize("name", ["Subject", "To", "X-Thing"])
@pytest.mark.parametrize("value", [{"a": 1}, {"a"}, [object()], iter("ab")])
def test_a_value_without_text_is_a_type_error(name, value) -> None:
    """Nothing but its repr() could be mailed: the error names the header."""
    with pytest.raises(TypeError, match=f"{name} must be text, not "):
        make_header(name, value, policy.default)


def test_bytes_that_are_no_utf8_name_their_header() -> None:
    """ValueError, which says where they are."""
    with pytest.raises(ValueError, match=r"X-Thing must be text or UTF-8, not b'gr\\xfc'"):
        EmailMessage(headers={"X-Thing": b"gr\xfc"}).message()


@pytest.mark.parametrize("name", ["Date", "date", "Resent-Date"])
@pytest.mark.parametrize("value", ["2026-01-01 00:00:00+00:00", date(2026, 1, 1), 5, None, ""])
def test_a_date_that_is_none_is_refused(name, value) -> None:
    """Python would write the field empty."""
    with pytest.raises(ValueError, match=f"{name} must be a datetime or a date of RFC 5322, not "):
        EmailMessage(headers={name: value}).message()
