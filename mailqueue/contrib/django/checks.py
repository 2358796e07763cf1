"""System checks: what is wrong with the mail settings, said before the first message is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's names

from mailqueue.conf import settings
from mailqueue.conf.server import journal_url, uses_embedded_server
from mailqueue.conf.spelling import guess
from mailqueue.errors import ImproperlyConfigured
from mailqueue.mail.routing import import_backend, mailers, refuse_without_oauth2
from mailqueue.oauth2.source import find_source
from mailqueue.queue.broker import import_app

_QUEUE_BACKEND = "mailqueue.backends.queue.EmailBackend"
_DEFAULT_BACKEND = "mailqueue.backends.smtp.EmailBackend"


def check_mail_settings(**_: Any) -> list[CheckMessage]:
    """Return all that is wrong; while a setting can't be read, nothing else is looked at."""
    unreadable = list(_check_readable())
    if unreadable:
        return unreadable
    return [
        *_check_backends(),
        *_check_delivery(),
        *_check_oauth2(),
        *_check_mailer_is_named(),
        *_check_celery_app(),
        *_check_journal(),
        *_check_server(),
    ]


def _check_readable() -> Iterator[CheckMessage]:
    # An unknown key spoils the look-up of every other one, with the same text: once is enough.
    for text in dict.fromkeys(_unreadable()):
        yield Error(
            text,
            hint="Correct it where it comes from: Django's settings or the environment.",
            id="mailqueue.E001",
        )


def _unreadable() -> Iterator[str]:
    for section in (settings, settings.MAILQUEUE):
        for name in sorted(section.names()):
            try:
                getattr(section, name)
            except ImproperlyConfigured as error:
                yield str(error)


def _check_backends() -> Iterator[CheckMessage]:
    """Check that what programs send by exists; of what workers deliver by, E003 says it."""
    delivering, _ = _delivering_backend()
    for source, path in _sending_backends():
        try:
            import_backend(path)
        except Exception as error:  # noqa: BLE001 - a stranger's module raises what it likes
            if path != delivering:
                yield Error(
                    f"{source} leads to the backend {path!r}, which can't be imported: {error}",
                    hint=f"Name the class by its full path.{_guess_backend(path)}",
                    id="mailqueue.E007",
                )


def _sending_backends() -> Iterator[tuple[str, str]]:
    """Each setting that names a backend by which a program may send, and the path there."""
    for alias, mailer in settings.MAILERS.items():
        if path := _path_of(mailer):
            yield f"MAILERS[{alias!r}]", path
    if not settings.MAILERS:
        yield "EMAIL_BACKEND", settings.EMAIL_BACKEND


def _guess_backend(path: str) -> str:
    """Our own backends, and Django's, whose paths are long enough to be misspelt."""
    modules = ("console", "dummy", "filebased", "locmem", "queue", "smtp")
    packages = ("mailqueue.backends", "django.core.mail.backends")
    known = {f"{package}.{module}.EmailBackend" for package in packages for module in modules}
    return guess(path, known - {"django.core.mail.backends.queue.EmailBackend"})


def _check_delivery() -> Iterator[CheckMessage]:
    """Check that what delivers exists, and isn't the queue again."""
    path, source = _delivering_backend()
    if path is None:
        yield Error(
            f"{source} names a mailer that MAILERS doesn't define.",
            hint="Add an entry of that alias to MAILERS, or name one that is there.",
            id="mailqueue.E003",
        )
        return
    try:
        backend = import_backend(path)
    except ImportError as error:
        yield Error(
            f"{source} leads to the backend {path!r}, which can't be imported: {error}",
            hint="Name the class by its full path, and install the package that brings it.",
            id="mailqueue.E003",
        )
        return
    if _is_queue(backend):
        yield Error(
            f"{source} leads back to the queue backend: mail would be queued for ever.",
            hint=f"Name the backend that sends, such as {_DEFAULT_BACKEND!r}.",
            id="mailqueue.E002",
        )


def _delivering_backend() -> tuple[str | None, str]:
    """The path of the backend by which a worker delivers, and the setting that names it."""
    config = settings.MAILQUEUE
    if config.USING is None:
        return config.BACKEND, "MAILQUEUE['BACKEND']"
    source = f"MAILQUEUE['USING'] = {config.USING!r}"
    if config.USING == "default" and not settings.MAILERS:
        return settings.EMAIL_BACKEND, source
    return _path_of(settings.MAILERS.get(config.USING)), source


def _path_of(mailer: Any) -> str | None:
    return mailer.get("BACKEND", _DEFAULT_BACKEND) if isinstance(mailer, dict) else None


def _is_queue(backend: Any) -> bool:
    return isinstance(backend, type) and issubclass(backend, import_backend(_QUEUE_BACKEND))


def _check_mailer_is_named() -> Iterator[CheckMessage]:
    """Check that a project with MAILERS says which of them delivers.

    From Django 6.1 on, EMAIL_HOST and the like don't exist beside MAILERS: without USING, a worker
    would find their defaults and deliver to port 25 of its own machine.
    """
    config = settings.MAILQUEUE
    if not (settings.MAILERS and _sends_to_queue()):
        return
    if config.USING is None and config.BACKEND == _DEFAULT_BACKEND:
        yield Warning(
            "MAILERS is set, and no mailer is named that delivers: workers deliver to "
            f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}.",
            hint="Name the mailer that sends: MAILQUEUE = {'USING': 'its alias in MAILERS'}.",
            id="mailqueue.W002",
        )


def _check_oauth2() -> Iterator[CheckMessage]:
    """Check that a login by OAuth2 has its function, and a backend that can do it."""
    try:
        _look_at_oauth2()
    except ImportError:
        return  # E003 says it
    except ImproperlyConfigured as error:
        yield Error(
            str(error),
            hint='docs/settings.md, "Logging in by OAuth2", has what a token function needs.',
            id="mailqueue.E006",
        )


def _look_at_oauth2() -> None:
    using = settings.MAILQUEUE.USING
    if settings.EMAIL_OAUTH2 and settings.MAILERS and using is not None:
        raise ImproperlyConfigured(
            f"EMAIL_OAUTH2 is set, and the mailer {using!r} of MAILERS doesn't read it: give that "
            "the option 'oauth2' instead"
        )
    if settings.EMAIL_OAUTH2:
        refuse_without_oauth2(_delivering_backend()[0] or _DEFAULT_BACKEND)
        refuse_without_oauth2(settings.EMAIL_BACKEND)
        options, user = settings.EMAIL_OAUTH2_OPTIONS, settings.EMAIL_HOST_USER
        find_source(settings.EMAIL_OAUTH2, options, alias=None, username=user)
    for alias, mailer in settings.MAILERS.items():
        if isinstance(mailer, dict) and "oauth2" in (mailer.get("OPTIONS") or {}):
            _ = mailers[alias]  # made as a worker makes it, and not opened


def _check_celery_app() -> Iterator[CheckMessage]:
    path = settings.MAILQUEUE.CELERY_APP
    if not path:
        return
    try:
        import_app(path)
    except ImproperlyConfigured as error:
        yield Error(
            str(error),
            hint="Name the project's Celery app as 'package.module:attribute'.",
            id="mailqueue.E004",
        )


def _check_journal() -> Iterator[CheckMessage]:
    try:
        journal_url()
    except ImproperlyConfigured as error:
        yield Error(
            str(error),
            hint="The journal is what keeps accepted mail; give it a Redis or Valkey.",
            id="mailqueue.E005",
        )


def _check_server() -> Iterator[CheckMessage]:
    """Check that a site in production doesn't queue into its own working directory."""
    if django_settings.DEBUG or not uses_embedded_server() or not _sends_to_queue():
        return
    yield Warning(
        "DEBUG is False, and mail is queued on the embedded server, which is for development.",
        hint="Set MAILQUEUE = {'JOURNAL_URL': 'redis://…/0', 'BROKER_URL': 'redis://…/1'} to two "
        "databases of the Redis or Valkey of this machine.",
        id="mailqueue.W001",
    )


def _sends_to_queue() -> bool:
    mailers = settings.MAILERS.values()
    paths = [_path_of(mailer) for mailer in mailers] if mailers else [settings.EMAIL_BACKEND]
    return _QUEUE_BACKEND in paths
