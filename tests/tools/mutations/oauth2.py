"""Mutations of the login by OAuth2: tokens, their cache, what is said to servers and people."""

from .row import of

MUTATIONS = [
    *of(
        "oauth2/cache",
        "oauth2/test_cache.py",
        ("self._clock() < token.renew_at", "self._clock() < token.ends_at"),
        ("            if request is None:", "            if True:"),
        ("            kept = self._put_off(source)", "            kept = None"),
        ("if kept is not None and kept.text == token.text:", "if kept is not None:"),
        ("if isinstance(found, str) or not is_wanted:", "if isinstance(found, str):"),
        ("is_wanted = is_awaited or source.key not in self._tokens", "is_wanted = is_awaited"),
        ("min(now + _ASK_AGAIN, token.ends_at)", "token.renew_at"),
        ("target=copy_context().run, args=[self._run]", "target=self._run"),
        ("os.register_at_fork(after_in_child=tokens.reset)\n", ""),
    ),
    *of(
        "oauth2/identity",
        "oauth2/test_issuers.py",
        ("_claimed_by(token.text) or _configured_in(source)", "_configured_in(source)"),
        ("_claimed_by(token.text) or _configured_in(source)", "_claimed_by(token.text)"),
    ),
    *of(
        "oauth2/issuers",
        "oauth2/test_issuers.py",
        ('if "access_token" not in answer:', "if False:"),
        ("if (secret is None) == (certificate is None):", "if False:"),
        ("subject=username", "subject=None"),
    ),
    *of(
        "oauth2/sasl",
        "oauth2/test_login.py",
        ("level, smtp.debuglevel = smtp.debuglevel, 0", "level = smtp.debuglevel"),
        ('hide(text.decode("utf-8", "replace"), secrets)', 'text.decode("utf-8", "replace")'),
        ("raise error.with_traceback(None) from None", "raise"),
        (
            "kind = TokenRefused if said or code == _REFUSED else",
            "kind = TokenRefused if said else",
        ),
        ("if not (_is_encrypted(smtp) or is_here):", "if False:"),
        ("is_short = len(command) + len(response) + 3 <= _LONGEST_COMMAND", "is_short = True"),
        ('.replace(",", "=2C")', ""),
        ("_ENDS[mechanism])", '"")'),
        ('return _REFUSED, b"the server closed after its error"', "raise"),
    ),
    *of(
        "oauth2/secrecy",
        "oauth2/test_source.py",
        ("{text, *text.splitlines()}", "{text}"),
        ("quote(value), quote_plus(value)", "value"),
    ),
    *of(
        "oauth2/source",
        "oauth2/test_source.py",
        ("hide(reason, self.options)", "reason"),
        ("if not username.isprintable():", "if False:"),
        ("    if taken is not None:", "    if False:"),
        ("if is_needed and name not in given:", "if False:"),
    ),
    *of(
        "oauth2/token",
        "oauth2/test_token.py",
        ("if end.tzinfo is None:", "if False:"),
        ("not _USABLE.fullmatch(text)", "not text"),
        ("min(_EARLY, seconds * _EARLY_SHARE)", "_EARLY"),
        ("    text: str = field(repr=False)", "    text: str"),
    ),
]
