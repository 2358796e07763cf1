"""`make django-demo`: a form posted like by a browser, a newsletter, and what became of the mail.

It starts `mailqueue up` (embedded Valkey, Celery worker, inbox) and the site, posts the contact
form over HTTP, runs `manage.py send_newsletter`, waits until all is delivered, prints each
message's fate, and stops everything. With --keep it goes on running for you to try. Whatever ends
it, also `kill -9`, ends all of it.
"""

import argparse
import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mailqueue.conf import home
from mailqueue.monitor import report, text

PROJECT = Path(__file__).resolve().parent
TETHER = PROJECT.parent / "tether.py"
EXPECTED = 4  # one from the form, three copies of the newsletter
PATIENCE = 40.0  # seconds
FORM = {
    "name": "Ada Visitor",
    "email": "visitor@example.org",
    "subject": "Opening hours",
    "text": "Are you open on Sundays?\n",
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
UP = ["-m", "mailqueue", "up", "--loglevel", "ERROR", "--inbox-port"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started stops in order too
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        return demonstrate(arguments.keep)
    except KeyboardInterrupt:
        say("interrupted; what was queued goes out with the next run")
        return 128 + signal.SIGINT


def end(number, _) -> None:
    signal.signal(number, signal.SIG_IGN)  # make passes on what a terminal has sent already
    sys.exit(128 + number)


def demonstrate(keep: bool) -> int:
    inbox = free_port()
    prepare(inbox)
    started = datetime.now(UTC)
    with ExitStack() as stack:
        say("starting: mailqueue up (embedded Valkey, Celery worker, inbox)")
        up = stack.enter_context(running([*UP, str(inbox)], "up.log"))
        wait_until(lambda: "mailqueue is up" in up(), "mailqueue is up", up)
        say("starting: manage.py runserver")
        command = ["manage.py", "runserver", "--noreload", "127.0.0.1:0"]
        log = stack.enter_context(running(command, "site.log"))
        wait_until(lambda: ADDRESS.search(log()), "the site runs", log)
        url = ADDRESS.search(log())[0]
        say(f"posting the form at {url}")
        say(f"the browser ends up at {post_form(url)}")
        say("running: manage.py send_newsletter subscribers.txt")
        run("manage.py", "send_newsletter", "subscribers.txt")
        ok = show_fates(started)
        if keep:
            say(f"still running: write something at {url}; Ctrl-C stops it")
            wait_for_interrupt()
    say("stopped, nothing is left running")
    return 0 if ok else 1


def prepare(inbox_port: int) -> None:
    """Stand in the project, as its programs do; the site's settings read EMAIL_PORT."""
    os.chdir(PROJECT)
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    os.environ["EMAIL_HOST"], os.environ["EMAIL_PORT"] = "127.0.0.1", str(inbox_port)
    os.environ["MAILQUEUE_HOME"] = str(home())
    os.environ["PYTHONUNBUFFERED"] = "1"  # what a program says is in its log at once
    home().mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def running(command, log_name):
    """A Python program in the background; yields what returns its log, or ends us if it ended."""
    path = home() / log_name
    with path.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, TETHER, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this program, which then stops that one
        )

    def log():
        if process.poll() is not None:
            sys.exit(f"{command} ended with status {process.returncode}:\n{path.read_text()}")
        return path.read_text()

    try:
        yield log
    finally:
        process.stdin.close()
        process.wait(90)


def run(*command) -> None:
    # In a session of its own, so that Ctrl-C shows no traceback of it.
    subprocess.run([sys.executable, *command], check=True, start_new_session=True)


def post_form(url) -> str:
    """Get the form, fill it in, send it with its CSRF token; return where that leads."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    no_proxy = urllib.request.ProxyHandler({})
    browser = urllib.request.build_opener(cookies, no_proxy)
    with browser.open(url, timeout=10) as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())[1]
    fields = urllib.parse.urlencode(FORM | {"csrfmiddlewaretoken": token}).encode()
    with browser.open(url, fields, timeout=10) as page:
        return page.url


def show_fates(started) -> bool:
    """Wait for the mail to arrive, print the table; tell whether all of it was sent."""

    def sent():
        return [m for m in messages_since(started) if m["state"] == "sent"]

    wait_until(lambda: len(sent()) >= EXPECTED, "all mail is delivered", lambda: "", fatal=False)
    fates = messages_since(started)
    print(f"\n{text.messages(fates)}\n")
    ok = len(fates) == len(sent()) == EXPECTED
    say(f"{len(sent())} of {EXPECTED} delivered; the mail lies in {home() / 'Maildir'}")
    return ok


def messages_since(started):
    """The messages of this run; the journal may still hold those of earlier ones."""
    found = report.find(report.Filter())
    return [m for m in found if datetime.fromisoformat(m["created"]) >= started]


def wait_until(condition, what, explain, *, fatal=True) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            if fatal:
                sys.exit(f"not within {PATIENCE:.0f} s: {what}\n{explain()}")
            return
        time.sleep(0.1)


def wait_for_interrupt() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def say(line) -> None:
    print(f"django-demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
