"""Mutations of the backends that send, print, keep or queue messages."""

from .row import of

MUTATIONS = [
    *of(
        "backends/base",
        "mail/test_backends.py mail/test_mailers.py",
        (
            "if alias is not None and unknown:",
            "if False:",
            "mail/test_mailers.py::test_a_wrong_definition_names_its_mailer",
        ),
        (
            "            self.close()\n            raise",
            "            raise",
            "mail/test_backends.py::test_the_context_manager_closes_what_did_not_open",
        ),
    ),
    *of(
        "backends/console",
        "mail/test_backends.py mail/test_backends_bytes.py",
        (
            "                if not self.fail_silently:\n                    raise\n",
            "",
            "mail/test_backends.py::test_the_console_fails_silently_if_it_is_told_to",
        ),
        (
            "sys.stdout if stream is None else stream",
            "sys.stdout",
            "mail/test_backends.py::test_the_console_takes_a_stream",
        ),
        (
            "                self.stream.flush()\n",
            "",
            "mail/test_backends_bytes.py::test_what_the_console_has_sent_is_written",
        ),
    ),
    *of(
        "backends/handshake",
        "mail/test_smtp_handshake.py",
        ("if _QUALIFIED.fullmatch(name):", "if '.' in name:"),
        ("    _share = 0.5\n", "    _share = 1.0\n"),
        ("if quiet == timeout or", "if"),
        ("_UNKNOWN_COMMAND = (500, 502)", "_UNKNOWN_COMMAND = range(400, 600)"),
        ("if type(error) not in _NO_WAY:", "if True:"),
        ("    if offered:\n", "    if False:\n"),
        ('if connection.has_extn("starttls"):', "if False:"),
    ),
    *of(
        "backends/dummy",
        "mail/test_backends.py",
        (
            "return len(list(email_messages))",
            "return 0",
            "mail/test_backends.py::test_dummy_counts",
        ),
    ),
    *of(
        "backends/filebased",
        "mail/test_backends.py",
        (
            "        if self.stream is not None:\n            return False\n",
            "",
            "mail/test_backends.py::test_a_new_file_for_each_session",
        ),
        (
            "    if not os.access(path, os.W_OK):\n",
            "    if False:\n",
            "mail/test_backends.py::test_a_directory_that_cannot_be_written",
        ),
        (
            "-{secrets.token_hex(6)}",
            "",
            "mail/test_backends.py::test_a_new_file_for_each_session",
        ),
    ),
    *of(
        "backends/locmem",
        "mail/test_backends.py mail/test_backends_bytes.py",
        (
            "            message.message()\n",
            "",
            "mail/test_backends.py::test_header_errors_surface_in_memory",
        ),
        (
            "copied = _copy(message)",
            "copied = message",
            "mail/test_backends.py::test_the_outbox_holds_copies",
        ),
        (
            "shared = {id(connection): connection for connection in kept}",
            "shared: dict[int, Any] = {}",
            "mail/test_backends_bytes.py::test_the_outbox_does_not_copy_a_connection",
        ),
        (
            "            copied.sent_using = self.alias\n",
            "",
            "mail/test_backends.py::test_the_outbox_tells_by_which_mailer_a_message_was_sent",
        ),
    ),
    *of(
        "backends/queue",
        "faults/test_outage.py",
        (
            "        if username or password:\n",
            "        if False:\n",
            "system/test_tasks.py::test_credentials_do_not_travel",
        ),
        (
            "fail_silently=self.fail_silently)",
            "fail_silently=False)",
            "faults/test_outage.py::test_fail_silently_returns_nothing_sent",
        ),
        (
            "Producer(self.queue, fail",
            "Producer(None, fail",
            "system/test_accepting.py::test_a_backend_may_name_its_queue",
        ),
    ),
    *of(
        "backends/smtp",
        "mail/test_smtp.py mail/test_smtp_security.py",
        (
            "            tokens.drop(self.oauth2, token)",
            "            raise",
            "oauth2/test_login.py::test_a_token_that_is_refused_is_replaced_once",
        ),
        (
            "if path is None and password and self.alias is None:",
            "if False:",
            "oauth2/test_source.py::test_who_names_a_password_wants_that_one",
        ),
        (
            "context = ssl.create_default_context()",
            "context = ssl._create_unverified_context()",
            "mail/test_smtp_security.py::test_a_certificate_that_nobody_vouches_for",
        ),
        (
            "            connection.starttls(context=self.ssl_context)",
            "            pass",
            "mail/test_smtp_security.py::test_starttls_with_a_trusted_certificate",
        ),
        (
            "sender, list(dict.fromkeys(recipients)))",
            "sender, recipients)",
            "mail/test_smtp.py::test_a_recipient_named_twice_gets_one_copy",
        ),
        (
            "            connection.close()\n            raise",
            "            raise",
            "mail/test_smtp_security.py::test_no_fall_back_to_clear_text",
        ),
        (
            "            self._forget_if_lost(error)\n",
            "",
            "mail/test_smtp.py::test_a_lost_connection_is_forgotten",
        ),
        (
            "with contextlib.suppress(OSError):\n                    connection.quit()",
            "connection.quit()",
            "mail/test_smtp.py::test_closing_a_lost_connection_is_no_error",
        ),
        (
            "            self._drop()  # in the middle",
            "            pass  # in the middle",
            "mail/test_smtp_interrupted.py",
        ),
        (
            "                if opened:\n                    self.close()",
            "                self.close()",
            "mail/test_smtp.py::test_who_opens_closes",
        ),
        (
            "            self._require_smtputf8([sender, *recipients])\n",
            "",
            "mail/test_smtp.py::test_smtputf8_that_is_not_offered",
        ),
        (
            "        with self._lock:\n            opened = self.open()",
            "        if True:\n            opened = self.open()",
            "mail/test_smtp.py::test_threads_take_turns",
        ),
        (
            "given is None and self.alias is None",
            "given is None",
            "mail/test_mailers.py::test_a_mailer_has_a_backend_and_options",
        ),
    ),
    *of(
        "backends/reach",
        "delivery/test_loss.py",
        (
            "min(timeout, TO_CONNECT)",
            "timeout",
            "delivery/test_loss.py::test_a_server_that_cannot_be_reached_is_given_up_soon",
        ),
        (
            '    _set(connected, "TCP_USER_TIMEOUT", LOST_AFTER * 1000)',
            "    pass",
            "delivery/test_loss.py::test_a_forgotten_connection_is_given_up_soon",
        ),
        (
            '    _set(connected, "TCP_USER_TIMEOUT", 0)\n',
            "",
            "delivery/test_loss.py::test_after_the_end_the_reply_is_awaited_over_a_network_that_goes_away",
        ),
    ),
    *of(
        "delivery/smtp/dialogue",
        "delivery/test_loss.py",
        (
            "        self.endure(losses=True)\n        view",
            "        view",
            "delivery/test_loss.py::test_a_server_that_reads_nothing_for_a_while_is_waited_for",
        ),
    ),
    *of(
        "delivery/smtp/data",
        "delivery/test_loss.py",
        (
            "            session.dialogue.endure(losses=False)\n",
            "",
            "delivery/test_loss.py::test_after_a_reply_a_loss_is_noticed_again",
        ),
    ),
]
