"""A RabbitMQ node of a test's own: on free ports of loopback, with its data in a directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kombu import Connection

from tests.lifeline import SHARED
from tests.patience import wait_until
from tests.ports import HeldPort

# Debian's command of that name insists on a user of its own, and on its directories.
DEBIANS = Path("/usr/lib/rabbitmq/bin")
SCRIPT = shutil.which("rabbitmq-server", path=f"{DEBIANS}{os.pathsep}{os.environ['PATH']}")
MISSING = "" if SCRIPT else "no rabbitmq-server on the PATH"


class RabbitMQ:
    """The node, and the port mapper that Erlang wants beside it; both end with the context."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._held = [HeldPort() for _ in range(3)]
        self.port, self._mapper_port, distribution = (held.number for held in self._held)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (directory / "plugins").write_text("[].")
        (directory / "rabbitmq.conf").write_text("log.console = true\nlog.file = false\n")
        self._environment = os.environ | {
            # Tests stop it, and start it for the tests behind them.
            SHARED: "1",
            "HOME": str(directory),  # of the cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": f"mailqueue-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1"
            ),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            # Erlang replaces the script, so that the process started is the one to kill.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def __enter__(self) -> RabbitMQ:
        command = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        self._mapper = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._mapper.kill()
        self._mapper.wait()
        for held in self._held:
            held.release()

    def start(self) -> None:
        """Start, on the data of last time, and wait until it takes connections."""
        with (self.directory / "output").open("ab") as output:
            self._server = subprocess.Popen(
                [SCRIPT], env=self._environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            )  # fmt: skip
        wait_until(self._answers, 60, (self.directory / "output").read_text)

    def _answers(self) -> bool:
        assert self._server.poll() is None, (self.directory / "output").read_text()
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it like a crash."""
        self._server.kill()
        self._server.wait()

    @property
    def pid(self) -> int:
        """The node's process."""
        return self._server.pid

    def control(self, *arguments: str) -> None:
        """Run `rabbitmqctl`."""
        script = Path(SCRIPT).with_name("rabbitmqctl")
        subprocess.run([script, *arguments], env=self._environment, check=True, capture_output=True)
