"""Mutations of the settings: where they are looked up, how they are read."""

from .row import of

MUTATIONS = [
    *of(
        "conf/keys",
        "conf/test_conf.py conf/test_lookup.py conf/test_setting.py",
        (
            "LEASE = Setting(60.0",
            "LEASE = Setting(600.0",
            "packaging/test_documents.py::test_the_settings_are_these",
        ),
        (
            "({}, parse_mailers, secret=True)",
            "({}, parse_mailers)",
            "oauth2/test_source.py::test_a_setting_that_holds_secrets_is_not_shown",
        ),
        (
            "({}, parse_options, secret=True)",
            "({}, parse_options)",
            "oauth2/test_source.py::test_a_setting_that_holds_secrets_is_not_shown",
        ),
    ),
    *of(
        "conf/lookup",
        "conf/test_conf.py conf/test_lookup.py conf/test_setting.py",
        (
            "if not mapping.keys() <= self.names():",
            "if False:",
            "conf/test_conf.py::test_configure_is_all_or_nothing",
        ),
        (
            "if key not in self.names() and not describes_service(variable, value):",
            "if False:",
            "conf/test_conf.py::test_unknown_names_are_errors",
        ),
        (
            "if key not in self.names() and not describes_service(variable, value):",
            "if key not in self.names():",
            "conf/test_names.py::test_a_service_of_any_name_sets_nothing",
        ),
        (
            "    if text is None or describes_service(variable, text):\n",
            "    if text is None:\n",
            "conf/test_names.py::test_a_service_of_any_name_sets_nothing",
        ),
        (
            "            self._configured = before\n            raise",
            "            raise",
            "conf/test_conf.py::test_configure_is_all_or_nothing",
        ),
        (
            "    @without_frames\n",
            "",
            "system/test_error_reports.py::test_a_report_of_a_wrong_setting_shows_no_password",
        ),
        (
            "        _ = django.DEBUG  # has the proxy load the settings\n",
            "        pass\n",
            "mail/test_django_settings.py::test_reading_djangos_settings_warns_nobody",
        ),
        (
            'getattr(getattr(django, "_wrapped", django), name, MISSING)',
            "getattr(django, name, MISSING)",
            "mail/test_django_settings.py::test_reading_djangos_settings_warns_nobody",
        ),
        (
            "django if named or django.configured else None",
            "django",
            "conf/test_conf.py::test_django_that_is_only_imported_is_not_a_source",
        ),
        (
            "token = steady_block.set(None)",
            "token = steady_block.set(steady_block.get())",
            "conf/test_setting.py::test_who_makes_the_messages_of_a_block_sees_the_settings_as_they_are",
        ),
        (
            "if of_django and django_settings() is not None:",
            "if False:",
            "conf/test_conf.py::test_configure_leaves_django_alone",
        ),
        (
            'before.get("MAILQUEUE", {}) | queue',
            "queue",
            "conf/test_conf.py::test_configure_adds_to_what_it_said_before",
        ),
        (
            "newest.environment == environment:",
            "True:",
            "conf/test_setting.py::test_a_later_block_sees_what_has_changed",
        ),
    ),
    *of(
        "conf/kubernetes",
        "conf/test_names.py",
        ('variable.endswith("_PORT") and _ADDRESS.fullmatch(value)', 'variable.endswith("_PORT")'),
        ("(_(PROTO|PORT|ADDR))?", ""),
    ),
    *of(
        "conf/spelling",
        "conf/test_names.py",
        ("str(word).upper()", "str(word)"),
        ("if found else", "if not found else"),
    ),
    *of(
        "conf/spool",
        "conf/test_spool.py",
        ("Path(chosen) if _is_absolute(chosen) else", "Path(chosen) if chosen else"),
        ("    if settings.MAILQUEUE.SPOOL_DIR:\n        return None\n", ""),
        ("    if not _is_absolute(found):\n        raise", "    if False:\n        raise"),
    ),
    *of(
        "conf/parse",
        "conf/test_spool.py",
        ("path is not None and not os.path.isabs(path)", "False"),
    ),
    *of(
        "conf/url",
        "conf/test_url.py",
        ("if len({_kind(one) for one in split_urls(url)}) > 1:", "if False:"),
        ("if not (one.isascii() and one.isdecimal()):", "if not one.isdecimal():"),
        ("if len({int(one) for one in found}) > 1:", "if False:"),
        ("of_tls.get('ssl_cert_reqs', 'required')", "of_tls.get('ssl_cert_reqs', 'none')"),
        ('if "@" in beyond or parts.fragment or "#" in rest:', "if False:"),
        ('if "@" in parts.netloc:', "if False:"),
        ("    if len(found) < len(pairs):\n", "    if False:\n"),
        (
            '        return Secret(f"{self.scheme}://{place}{query}")',
            '        return Secret(f"{self.scheme}://{place}")',
        ),
        ("if port == 0:", "if False:"),
    ),
    *of(
        "conf/parse",
        "conf/test_parse.py conf/test_conf.py",
        ('"d": 86400', '"d": 8640', "conf/test_parse.py::test_durations_are_read_in_seconds"),
        (
            "    if number < 1:\n",
            "    if number < 0:\n",
            "conf/test_conf.py::test_bad_values_in_the_environment",
        ),
        (
            "    if not seconds:\n",
            "    if False:\n",
            "conf/test_conf.py::test_bad_values_in_the_environment",
        ),
        (
            "isinstance(value, (int, float)) and not isinstance(value, bool)",
            "isinstance(value, (int, float))",
            "conf/test_parse.py::test_what_is_no_duration_is_refused",
        ),
        (
            'if not 0 <= value < float("inf"):',
            "if not 0 <= value:",
            "conf/test_conf.py::test_bad_values_in_code",
        ),
        (
            "        if len(delays) > _MAX_DELAYS:\n",
            "        if False:\n",
            "conf/test_parse.py::test_a_bad_schedule_is_refused",
        ),
        (
            "    if not all(key.strip() for key in keys):\n",
            "    if False:\n",
            "conf/test_conf.py::test_an_empty_key_does_not_mean_none",
        ),
        (
            'if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text):',
            "if not text:",
            "conf/test_conf.py::test_bad_values_in_the_environment",
        ),
    ),
    *of(
        "conf/server",
        "conf/test_server.py",
        (
            "_BROKER_DATABASE = 1",
            "_BROKER_DATABASE = 0",
            "conf/test_server.py::test_without_settings_both_are_on_the_embedded_server",
        ),
        (
            '_PASSWORD.sub("***", place)',
            "place",
            "conf/test_server.py::test_passwords_are_taken_out",
        ),
        (
            'rest.rpartition("@")',
            'rest.partition("@")',
            "conf/test_server.py::test_passwords_are_taken_out",
        ),
        (
            " or found.st_mode & 0o077",
            "",
            "conf/test_server.py::test_a_directory_that_others_can_write_is_refused",
        ),
        (
            '    if len(split_urls(url)) > 1 or scheme_of(url) == "sentinel":\n',
            "    if False:\n",
            "conf/test_url.py::test_several_servers_are_for_the_broker_only",
        ),
        (
            "if not url and settings.MAILQUEUE.CELERY_APP:",
            "if False:",
            "conf/test_server.py::test_a_celery_application_needs_a_journal_to_be_named",
        ),
        (
            "if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT",
            "if True",
            "conf/test_server.py::test_a_deep_home_has_its_socket_elsewhere",
        ),
    ),
    *of(
        "conf/setting",
        "conf/test_conf.py conf/test_lookup.py conf/test_setting.py",
        (
            '"(not shown)" if self.secret else repr(raw)',
            "repr(raw)",
            "conf/test_conf.py::test_secrets_are_not_shown",
        ),
        (
            "        steady_block.reset(self._token)",
            "        pass",
            "conf/test_setting.py::test_settings_are_steady_in_a_block",
        ),
        (
            "kept = steady.values[section.kind]",
            'kept = steady.values["queue"]',
            "conf/test_setting.py::test_of_djangos_mail_settings_nothing_lasts",
        ),
        (
            "    except ValueError:\n        return None",
            '    except ValueError:\n        return b""',
            "conf/test_setting.py::test_a_value_that_is_computed_is_looked_up_in_each_block",
        ),
    ),
]
