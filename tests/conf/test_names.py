"""Names that are no settings: Kubernetes' are passed over, misspelt ones name the nearest."""

from __future__ import annotations

import pytest

from mailqueue import configure, mailers, settings
from mailqueue.conf.keys import QueueSettings, Settings
from mailqueue.conf.kubernetes import describes_service
from mailqueue.errors import ImproperlyConfigured, InvalidMailer


def variables_of_service(name: str, *ports: tuple[str, int, str]) -> dict[str, str]:
    """What a pod gets for a Service, by Kubernetes' documentation; ports: name, number, protocol.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    stem = name.upper().replace("-", "_")
    _, first, protocol = ports[0]
    found = {
        f"{stem}_SERVICE_HOST": "10.0.0.11",
        f"{stem}_SERVICE_PORT": str(first),
        f"{stem}_PORT": f"{protocol}://10.0.0.11:{first}",
    }
    for port_name, number, protocol in ports:
        if port_name:
            found[f"{stem}_SERVICE_PORT_{port_name.upper().replace('-', '_')}"] = str(number)
        link = f"{stem}_PORT_{number}_{protocol.upper()}"
        found[link] = f"{protocol}://10.0.0.11:{number}"
        found[f"{link}_PROTO"] = protocol
        found[f"{link}_PORT"] = str(number)
        found[f"{link}_ADDR"] = "10.0.0.11"
    return found


@pytest.mark.parametrize(
    "service",
    [
        "mailqueue",
        "mailqueue-valkey",
        "mailqueue-broker",
        "mailqueue-broker-url",
        "mailqueue-service",
        "mailqueue-home",
        "mailqueue-retry",
        "email",
        "email-host",
        "admins",
    ],
)
@pytest.mark.parametrize(
    "ports",
    [
        [("", 6379, "tcp")],
        [("web-ui", 80, "tcp"), ("dns", 53, "udp"), ("signal", 9, "sctp")],
    ],
)
def test_a_service_of_any_name_sets_nothing(service, ports, monkeypatch) -> None:
    """Every setting can be read, and is what it would be without the Service."""
    monkeypatch.delenv("MAILQUEUE_ENQUEUE_TIMEOUT")
    for name, value in variables_of_service(service, *ports).items():
        monkeypatch.setenv(name, value)
    settings.check()
    for section, kind in ((settings, Settings), (settings.MAILQUEUE, QueueSettings)):
        for name in kind.names():
            assert getattr(section, name) == getattr(kind, name).default, name


def test_what_a_service_in_a_dual_stack_has_is_known(monkeypatch) -> None:
    """An address of IPv6 is written in brackets."""
    monkeypatch.setenv("MAILQUEUE_PORT", "tcp://[fd00::1]:6379")
    settings.check()


def test_no_setting_looks_like_a_services() -> None:
    """But for EMAIL_PORT, which is one where it is a number: else it could not be set."""
    names = {f"MAILQUEUE_{name}" for name in QueueSettings.names()} | Settings.names()
    assert [name for name in names if describes_service(name, "25")] == []


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("MAILQUEUE_RETRI", "MAILQUEUE_RETRY"),
        ("MAILQUEUE_BROKERURL", "MAILQUEUE_BROKER_URL"),
        ("MAILQUEUE_JOURNAL_URI", "MAILQUEUE_JOURNAL_URL"),
        ("MAILQUEUE_spool_dir", "MAILQUEUE_SPOOL_DIR"),
        ("MAILQUEUE_EMAIL_HOST", "EMAIL_HOST"),
        ("MAILQUEUE_EMAIL_PORT", "EMAIL_PORT"),
        ("MAILQUEUE_HOMES", "MAILQUEUE_HOME"),
    ],
)
def test_a_misspelt_variable_names_the_nearest(variable, meant, monkeypatch) -> None:
    """A port that is a number is no Service's."""
    monkeypatch.setenv(variable, "2525")
    with pytest.raises(ImproperlyConfigured, match=f"{variable} names no.* Is {meant} meant"):
        settings.check()


def test_what_comes_close_to_nothing_is_an_error_all_the_same(monkeypatch) -> None:
    """Then the keys are listed without a guess."""
    monkeypatch.setenv("MAILQUEUE_XYZZY", "1")
    with pytest.raises(ImproperlyConfigured, match=r"XYZZY names no setting\. The keys"):
        settings.check()


def test_misspelt_keys_name_the_nearest() -> None:
    """In the dictionary, among the settings, and where one is taken for the other."""
    with pytest.raises(ImproperlyConfigured, match=r"'RETRI', from configure\(\)\. Is RETRY meant"):
        configure(MAILQUEUE={"RETRI": "1m"})
    with pytest.raises(ImproperlyConfigured, match=r"EMAIL_HOTS.* Is EMAIL_HOST meant"):
        configure(EMAIL_HOTS="x")
    with pytest.raises(ImproperlyConfigured, match=r"Is MAILQUEUE=\{'RETRY': …\} meant"):
        configure(RETRY="1m")


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ({"BACKND": "x"}, "Unknown key 'BACKND'. Is BACKEND meant"),
        ({"OPTIONS": {"host": "x", "user_name": "y"}}, "'user_name'. Is username meant"),
        ({"OPTIONS": {"host": "x", "inflight": 2}}, "'inflight'. Is in_flight meant"),
        (
            {"BACKEND": "mailqueue.backends.filebased.EmailBackend", "OPTIONS": {"filepath": "x"}},
            "'filepath'. Is file_path meant",
        ),
    ],
)
def test_misspelt_options_of_a_mailer_name_the_nearest(definition, text) -> None:
    """Those of our own backends, also where a class takes them by ``**kwargs``."""
    configure(MAILERS={"news": definition})
    with pytest.raises(InvalidMailer, match=text):
        _ = mailers["news"]
