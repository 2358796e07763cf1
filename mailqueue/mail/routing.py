"""Routing: from a setting, a path or an alias to the backend that takes the messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.setting import without_frames
from mailqueue.conf.spelling import guess
from mailqueue.errors import ImproperlyConfigured, InvalidMailer, MailerDoesNotExist

from .deprecation import accept_positional

_DEFAULT_ALIAS = "default"
_DEFAULT_BACKEND = "mailqueue.backends.smtp.EmailBackend"
_QUEUE_BACKEND = "mailqueue.backends.queue.EmailBackend"
_KEYS = {"BACKEND", "OPTIONS"}
# Backends that log in nowhere, so that a setting for a login needn't be taken away for them.
_WITHOUT_LOGIN = {
    f"{package}.{module}.EmailBackend"
    for package in ("mailqueue.backends", "django.core.mail.backends")
    for module in ("console", "dummy", "filebased", "locmem")
}
# Without these, a backend would log in by others than it was asked to.
_LOGIN = {"username", "password"}
# By this, Django's base class and ours are told which arguments are no options that must fit.
_UNFIT = "_ignore_unknown_kwargs"


class Mailers:
    """The mailers by alias, as the setting ``MAILERS`` defines them.

    Without ``MAILERS`` there is one, ``default``, of the older settings ``EMAIL_BACKEND``,
    ``EMAIL_HOST`` and so on. Each look-up makes a new backend.
    """

    def __getitem__(self, alias: str) -> Any:
        if alias == _DEFAULT_ALIAS and not settings.MAILERS:
            return import_backend(settings.EMAIL_BACKEND)()
        return _create(alias, {})

    def __contains__(self, alias: object) -> bool:
        return alias in list(self)

    def __iter__(self) -> Iterator[str]:
        return iter(settings.MAILERS or [_DEFAULT_ALIAS])

    @property
    def default(self) -> Any:
        """A backend of the default mailer."""
        return self[_DEFAULT_ALIAS]

    def get(self, alias: str, default: Any = None) -> Any:
        """The mailer of that alias, or ``default`` if there is none."""
        try:
            return self[alias]
        except MailerDoesNotExist:
            return default


mailers = Mailers()


@accept_positional("fail_silently", after=1)
def get_connection(
    backend: str | None = None, *, fail_silently: bool = False, **kwargs: Any
) -> Any:
    """A backend: of the class at the path ``backend``, or of the default mailer.

    The other arguments are the constructor's, and win over the mailer's options. Raises
    ImportError for a path that leads nowhere.
    """
    # Only when it is set: a backend need not know the argument (Django 6.1).
    options = kwargs | ({"fail_silently": True} if fail_silently else {})
    if backend:
        return import_backend(backend)(**options)
    if settings.MAILERS:
        return _create(_DEFAULT_ALIAS, options)
    return import_backend(settings.EMAIL_BACKEND)(**options)


def delivery_backend() -> Any:
    """A backend of what delivers: the mailer ``USING``, or the class ``BACKEND``.

    Raises ImproperlyConfigured when what is set would only queue the message again.
    """
    config = settings.MAILQUEUE
    if config.USING is None:
        refuse_without_oauth2(config.BACKEND)
        backend = get_connection(config.BACKEND)
    else:
        if config.USING == _DEFAULT_ALIAS and not settings.MAILERS:
            refuse_without_oauth2(settings.EMAIL_BACKEND)
        backend = mailers[config.USING]
    if isinstance(backend, import_backend(_QUEUE_BACKEND)):
        raise ImproperlyConfigured(
            "MAILQUEUE['BACKEND'] or ['USING'] names the queue backend, which would queue what it "
            "should deliver: name the backend that sends, such as " + _DEFAULT_BACKEND
        )
    return backend


def refuse_without_oauth2(path: str) -> None:
    """Raise ImproperlyConfigured where that backend would leave ``EMAIL_OAUTH2`` aside."""
    if not settings.EMAIL_OAUTH2 or path in {*_WITHOUT_LOGIN, _QUEUE_BACKEND}:
        return
    if not _takes_oauth2(import_backend(path)):
        raise ImproperlyConfigured(
            f"EMAIL_OAUTH2 is set, and {path} can't log in by OAuth2: use {_DEFAULT_BACKEND}, "
            "or set EMAIL_OAUTH2 to None"
        )


def _takes_oauth2(backend: Any) -> bool:
    return "oauth2" in parameters(backend)[0]


def import_backend(path: str) -> Any:
    """The class at a dotted path such as ``mailqueue.backends.smtp.EmailBackend``."""
    module, dot, name = str(path).rpartition(".")
    if not dot:
        raise ImportError(f"{path} doesn't look like a module path")
    found = getattr(import_module(module), name, None)
    if not callable(found):
        raise ImportError(f'Module "{module}" does not define a "{name}" attribute/class')
    return found


def refuse_combination(
    *,
    using: str | None,
    connection: Any,
    fail_silently: bool = False,
    auth_user: str | None = None,
    auth_password: str | None = None,
) -> None:
    """Raise TypeError where one argument would have to be ignored for another's sake."""
    auth = auth_user is not None or auth_password is not None
    if using is not None:
        _refuse_with_using(connection is not None, bool(fail_silently), auth)
    elif connection is not None and fail_silently:
        raise TypeError(
            "fail_silently cannot be used with a connection. "
            "Pass fail_silently to get_connection() instead."
        )
    elif connection is not None and auth:
        raise TypeError(
            "auth_user and auth_password cannot be used with a connection. "
            "Pass auth_user and auth_password to get_connection() instead."
        )


def _refuse_with_using(connection: bool, fail_silently: bool, auth: bool) -> None:
    if connection:
        raise TypeError("'connection' is not compatible with 'using'.")
    if fail_silently:
        raise TypeError("'fail_silently' is not compatible with 'using'.")
    if auth:
        raise TypeError(
            "'auth_user' and 'auth_password' are not compatible with 'using'. "
            "Set 'username' and 'password' OPTIONS in MAILERS instead."
        )


@without_frames  # whose variables are the options, passwords among them
def _create(alias: str, overrides: Mapping[str, Any]) -> Any:
    """Make the backend of a mailer; ``overrides`` that its class can't take are left out.

    But for the login: a class that can't take that is an error.
    """
    path, options = _definition(alias)
    try:
        backend = import_backend(path)
    except ImportError as error:
        raise InvalidMailer(f"Could not find BACKEND {path!r}: {error}", alias=alias) from error
    named, takes_any = parameters(backend)
    if "oauth2" in options and not _takes_oauth2(backend):
        raise InvalidMailer(
            f"{path} can't log in by OAuth2: use {_DEFAULT_BACKEND}, or take 'oauth2' out of "
            "OPTIONS",
            alias=alias,
        )
    fit = overrides if takes_any else {n: overrides[n] for n in overrides if n in named | _LOGIN}
    options |= fit
    if fit and takes_any and _UNFIT in named:
        options[_UNFIT] = set(fit)
    if takes_any or "alias" in named:
        options["alias"] = alias
    try:
        inspect.signature(backend).bind(**options)
    except TypeError as error:
        question = "".join(guess(name, named) for name in options if name not in named)
        raise InvalidMailer(f"OPTIONS don't fit {path}: {error}.{question}", alias=alias) from None
    return backend(**options)


def _definition(alias: str) -> tuple[str, dict[str, Any]]:
    try:
        entry = settings.MAILERS[alias]
    except KeyError:
        raise MailerDoesNotExist(alias=alias) from None
    if not isinstance(entry, Mapping):
        kind = type(entry).__name__
        raise InvalidMailer(f"The entry must be a dictionary, not {kind}.", alias=alias)
    unknown = sorted(str(key) for key in entry if key not in _KEYS)
    if unknown:
        raise InvalidMailer(
            f"Unknown key {unknown[0]!r}.{guess(unknown[0], _KEYS)} The keys are 'BACKEND' and "
            "'OPTIONS'.",
            alias=alias,
        )
    return entry.get("BACKEND", _DEFAULT_BACKEND), _options(alias, entry.get("OPTIONS", {}))


def _options(alias: str, options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise InvalidMailer("OPTIONS must be a dictionary.", alias=alias)
    if "alias" in options:
        raise InvalidMailer("OPTIONS must not define 'alias'.", alias=alias)
    return dict(options)


def parameters(backend: Any) -> tuple[set[str], bool]:
    """The names of the constructor's parameters, its bases' included; whether it takes others."""
    if not inspect.isclass(backend):
        found = list(inspect.signature(backend).parameters.values())
        return {p.name for p in found}, any(p.kind is p.VAR_KEYWORD for p in found)
    own = [vars(base)["__init__"] for base in backend.__mro__ if "__init__" in vars(base)]
    every = [list(inspect.signature(init).parameters.values()) for init in own]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in every[0])
    return {p.name for found in every for p in found}, takes_any
