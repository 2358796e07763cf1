"""Options in the URL of broker and journal, with real workers and servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
import trustme

from mailqueue import send_mail
from tests.servers import RedisServer
from tests.support import REDIS_SERVER, wait_until

OPTIONS = "?max_connections=20&health_check_interval=15&client_name=shop"


def send_and_wait(worker, smtp_server) -> None:
    send_mail("Hello", "A letter", "from@example.com", ["to@example.com"])
    wait_until(lambda: smtp_server.received, 20, worker.explain)


def test_program_and_worker_take_the_options_of_a_url(
    producer, monkeypatch, redis_url, start_worker, smtp_server
):
    """Those that our own errors advise; the worker could not start with them."""
    url = redis_url.removesuffix("/0") + f"/3{OPTIONS}"
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", url)
    worker = start_worker(MAILQUEUE_BROKER_URL=url)
    send_and_wait(worker, smtp_server)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        named = [one for one in client.client_list() if one["name"] == "shop"]
        assert {one["db"] for one in named} == {"3"}
        assert client.keys() == []


class TlsServer(RedisServer):
    """A Redis that speaks TLS only, with a certificate for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        port = self.url.rpartition(":")[2]
        self.address = f"rediss://127.0.0.1:{port}/3"
        self.url = f"{self.address}?ssl_ca_certs={directory / 'ca.pem'}"
        options = {
            "port": "0",
            "tls-port": port,
            "tls-auth-clients": "no",
            "tls-cert-file": directory / "server.pem",
            "tls-key-file": directory / "server.pem",
            "tls-ca-cert-file": directory / "ca.pem",
        }
        for name, value in options.items():
            self._command += [f"--{name}", str(value)]


@pytest.mark.needs("Redis", missing="" if REDIS_SERVER else "no redis-server on the PATH")
def test_broker_and_journal_verify_the_servers_certificate(
    producer, monkeypatch, tmp_path, start_worker, smtp_server, run_cli
):
    """By what the URL says, with mail going through; without that, neither connects."""
    with TlsServer(tmp_path) as server:
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", server.url)
        worker = start_worker(MAILQUEUE_BROKER_URL=server.url)
        send_and_wait(worker, smtp_server)
        found = run_cli("check", "--json", MAILQUEUE_BROKER_URL=server.address)
        problems = {part["name"]: part["problems"] for part in json.loads(found.stdout)["checks"]}
        for half in ("journal", "broker"):
            assert "certificate verify failed" in problems[half][0]
        worker.stop()


@pytest.mark.parametrize(("group", "lacking"), [("@write", "'set'"), ("@scripting", "'evalsha'")])
def test_check_names_what_a_login_of_the_journal_may_not_do(
    group, lacking, producer, monkeypatch, redis_url, run_cli
):
    """Else nothing would be wrong before the first mail, which can't be accepted then."""
    with redis.Redis.from_url(redis_url) as client:
        rights = ("~*", "&*", "+@all", f"-{group}")
        client.execute_command("ACL", "SETUSER", "shop", "on", ">secret", *rights)
        monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url.replace("//", "//shop:secret@"))
        found = run_cli("check", "--program", "--json")
        client.execute_command("ACL", "DELUSER", "shop")
    assert found.returncode == 1
    problems = {part["name"]: part["problems"] for part in json.loads(found.stdout)["checks"]}
    assert lacking in problems["journal"][0]
    assert "needs to read, to write, and to call scripts" in problems["journal"][0]
