"""URLs of servers: both libraries connect to what is written there, or it is an error."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection
from kombu.transport.redis import Channel

from mailqueue import configure, settings
from mailqueue.conf.server import broker_options, broker_url, journal_url
from mailqueue.errors import ImproperlyConfigured
from mailqueue.queue.broker import producer_app

PATH = "/run/valkey.sock"


def seen_by_redis_py() -> tuple[Any, ...]:
    """Where the journal is, as redis-py understands it."""
    found = redis.ConnectionPool.from_url(journal_url()).connection_kwargs
    place = (found.get("path"),) if "path" in found else (found["host"], found.get("port", 6379))
    return (*place, found.get("db", 0), found.get("username") or None, found.get("password"))


def seen_by_kombu() -> tuple[Any, ...]:
    """Where the broker is, by what a channel of kombu's gives to its connections."""
    channel: Any = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=Connection(broker_url()), default_port=6379)
    found = channel._connparams()
    place = (found["path"],) if "path" in found else (found["host"], found["port"])
    return (*place, found["db"], found["username"], found["password"])


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://host", ("host", 6379, 0, None, None)),
        ("redis://host/", ("host", 6379, 0, None, None)),
        ("redis://host:1/2", ("host", 1, 2, None, None)),
        ("redis://host:1/2/", ("host", 1, 2, None, None)),
        ("REDIS://host:1/2", ("host", 1, 2, None, None)),
        ("redis://host:1?db=2", ("host", 1, 2, None, None)),
        ("redis://host:1/2?db=2", ("host", 1, 2, None, None)),
        ("redis://host:1?virtual_host=2", ("host", 1, 2, None, None)),
        ("rediss://host:1/2", ("host", 1, 2, None, None)),
        ("valkey://host:1/2", ("host", 1, 2, None, None)),
        ("valkeys://host:1/2", ("host", 1, 2, None, None)),
        ("redis://[::1]:1/2", ("::1", 1, 2, None, None)),
        ("redis://[2001:db8::1]/2", ("2001:db8::1", 6379, 2, None, None)),
        ("redis://:pw@host:1/2", ("host", 1, 2, None, "pw")),
        ("redis://ann:pw@host:1/2", ("host", 1, 2, "ann", "pw")),
        ("redis://ann:p%40%2F%3Aw%23%20@host:1/2", ("host", 1, 2, "ann", "p@/:w# ")),
        ("redis://host:1/2?password=p%40w", ("host", 1, 2, None, "p@w")),
        ("redis://host:1/2?username=ann&password=p+w", ("host", 1, 2, "ann", "p w")),
        (f"unix://{PATH}", (PATH, 0, None, None)),
        (f"unix://{PATH}?db=2", (PATH, 2, None, None)),
        (f"valkey+unix://{PATH}?virtual_host=2", (PATH, 2, None, None)),
        (f"redis+socket://{PATH}?virtual_host=2", (PATH, 2, None, None)),
        (f"redis+socket://{PATH}?db=2", (PATH, 2, None, None)),
        (f"unix://ann:pw@{PATH}?db=2", (PATH, 2, "ann", "pw")),
        (f"unix://{PATH}?db=2&password=p%2Fw", (PATH, 2, None, "p/w")),
    ],
)
def test_both_libraries_connect_to_what_is_meant(url: str, meant: tuple[Any, ...]) -> None:
    """Each address in each spelling is the same server, login and database to both."""
    configure(MAILQUEUE={"BROKER_URL": url})
    assert seen_by_redis_py() == meant
    assert seen_by_kombu() == meant


OPTIONS = "max_connections=20&health_check_interval=15&client_name=shop"
READ = {"max_connections": 20, "health_check_interval": 15, "client_name": "shop"}


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (f"redis://host/0?{OPTIONS}", READ),
        (f"unix://{PATH}?{OPTIONS}", READ),
        (f"redis://host/0?{OPTIONS}&socket_keepalive=no", READ | {"socket_keepalive": False}),
    ],
)
def test_both_libraries_get_the_options(url: str, options: dict[str, Any]) -> None:
    """In the URL for redis-py, as an application's options for kombu."""
    configure(MAILQUEUE={"BROKER_URL": url})
    given = redis.ConnectionPool.from_url(journal_url())
    found = given.connection_kwargs | {"max_connections": given.max_connections}
    assert {name: found[name] for name in options} == options
    assert broker_options() == {"broker_transport_options": options}
    connection = producer_app().connection_for_write()
    assert connection.transport_options == options
    assert "?" not in broker_url().replace("?virtual_host=0", "")


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("?ssl_cert_reqs=CERT_NONE", {"ssl_cert_reqs": ssl.CERT_NONE}),
        ("?ssl_cert_reqs=optional", {"ssl_cert_reqs": ssl.CERT_OPTIONAL}),
        (
            "?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=off",
            {
                "ssl_cert_reqs": ssl.CERT_REQUIRED,
                "ssl_ca_certs": "/etc/ca.pem",
                "ssl_check_hostname": False,
            },
        ),
    ],
)
def test_both_libraries_verify_the_same_certificate(query: str, options: dict[str, Any]) -> None:
    """Only a valid one, unless the URL says otherwise; kombu by itself takes any."""
    configure(MAILQUEUE={"BROKER_URL": f"rediss://host/0{query}"})
    assert producer_app().connection_for_write().ssl == options
    pool = redis.ConnectionPool.from_url(journal_url())
    made = pool.connection_class(**pool.connection_kwargs)
    assert made.cert_reqs == options["ssl_cert_reqs"]
    assert made.ca_certs == options.get("ssl_ca_certs")
    assert made.check_hostname == options.get("ssl_check_hostname", made.check_hostname)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://host/mail", r"must be a number.*'mail' is none"),
        ("redis://host/1/2", r"must be a number.*'1/2' is none"),
        ("redis://host/-1", r"must be a number.*'-1'"),
        ("redis://host/٣", r"must be a number"),
        ("redis://host?db=mail", r"must be a number.*'mail'"),
        ("redis://host/1?db=2", r"names two databases"),
        (f"unix://{PATH}?db=1&virtual_host=2", r"names two databases"),
        ("redis://host/0?db=", r"'db' has no value"),
        ("redis://host/0?db=1&db=2", r"there twice"),
        ("redis://host:0/0", r"port 0"),
        ("redis://host:99999/0", r"can't be read"),
        ("redis://host:port/0", r"can't be read"),
        ("redis://[::1/0", r"can't be read"),
        ("unix://run/valkey.sock", r"path is absolute"),
        ("unix://", r"path is absolute"),
        ("localhost:6379", r"is no URL"),
        ("redis//localhost:6379", r"is no URL"),
        ("redis://host/0?max_conections=20", r"'max_conections' can't.* Is max_connections meant"),
        ("redis://host/0?max_connections=many", r"'max_connections' invalid literal"),
        ("redis://host/0?health_check_interval=1.5", r"'health_check_interval' must be a whole"),
        ("redis://host/0?socket_timeout=5", r"'socket_timeout' can't be used. ENQUEUE_TIMEOUT"),
        ("redis://host/0?decode_responses=0", r"The options are client_name, db, health_check"),
        ("redis://host/0?ssl_cert_reqs=none", r"'ssl_cert_reqs' can't be used"),
        ("rediss://host/0?ssl_cert_reqs=maybe", r"'ssl_cert_reqs' must be 'required', 'opt"),
        (f"unix://{PATH}?socket_keepalive=1", r"'socket_keepalive' can't be used"),
        ("redis://ann:pw@host/0?password=other", r"has a login, and options for one"),
        ("amqp://host/vhost?max_connections=1", r"'max_connections' can't.*heartbeat, login_m"),
        ("redis://a/0;redis://b/mail", r"must be a number"),
        ("redis://a/0;amqp://b/vhost", r"servers of different kinds"),
        ("redis://a/0;rediss://b/0", r"servers of different kinds"),
    ],
)
def test_what_a_library_would_misread_is_an_error(url: str, reason: str) -> None:
    """One of them would have passed over it in silence, or stopped the worker by it."""
    with pytest.raises(ImproperlyConfigured, match=rf"MAILQUEUE\['BROKER_URL'\].*{reason}"):
        configure(MAILQUEUE={"BROKER_URL": url})


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:secret/word@host/0",
        "redis://:12/secret@host/0",
        "redis://:12?secret=x@host/0",
        "redis://:12#secret@host/0",
        "redis://:12/secret?x#y@host/0",
        "amqp://ann:12?secret=x@host/vhost",
        "sentinel://:12/secret@host/0",
        "redis://host/0?password=secret@x",
        "redis://host/0?passwort=secret",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    """Not even where it has been written in a way that makes it look like something else."""
    with pytest.raises(ImproperlyConfigured) as caught:
        configure(MAILQUEUE={"BROKER_URL": url})
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_password_reaches_both_libraries(password: str) -> None:
    """If it is percent-encoded, whatever characters are in it."""
    url = f"redis://ann:{quote(password, safe='')}@host:1/2"
    with settings.overridden(MAILQUEUE={"BROKER_URL": url}):
        assert seen_by_redis_py() == seen_by_kombu() == ("host", 1, 2, "ann", password)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@a/0;redis://:secret@b/0",
        "sentinel://:secret@a:26379/0;sentinel://b:26379/0?master_name=mail",
        "amqp://ann:secret@host/vhost;amqp://ann:secret@b/vhost",
    ],
)
def test_several_servers_are_for_the_broker_only(url: str) -> None:
    """Kombu knows what to do with them; the journal has to be named then."""
    configure(MAILQUEUE={"BROKER_URL": url})
    with pytest.raises(ImproperlyConfigured, match=r"set MAILQUEUE\['JOURNAL_URL'\]") as caught:
        journal_url()
    assert "secret" not in str(caught.value)
    hosts = [one.partition("@")[2] or one for one in broker_url().split(";")]
    assert len(hosts) == 2
    if url.startswith("sentinel"):
        assert broker_options() == {"broker_transport_options": {"master_name": "mail"}}
        assert "?" not in broker_url()


@pytest.mark.parametrize("url", ["amqp://host/vhost?heartbeat=30", "memory://", "sqs://key:x@"])
def test_what_is_no_redis_is_left_to_kombu(url: str) -> None:
    """As it is written."""
    configure(MAILQUEUE={"BROKER_URL": url})
    assert (broker_url(), broker_options()) == (url, {})
