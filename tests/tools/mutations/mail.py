"""Mutations of composing: the mail API, messages, headers, MIME parts, a message as bytes."""

from .row import of

MUTATIONS = [
    *of(
        "mail/address",
        "mail/test_addresses.py mail/test_headers.py",
        (
            "\\x1d\\x1e\\x85\\u2028\\u2029]",
            "\\x1d\\x1e\\u2028\\u2029]",
            "mail/test_addresses.py::test_a_line_end_is_refused",
        ),
        (
            "    if len(addresses) != 1:\n",
            "    if not addresses:\n",
            "mail/test_addresses.py::test_what_is_not_one_address_is_refused",
        ),
        (
            "    _refuse_unsafe(text, local, domain)\n",
            "",
            "mail/test_addresses.py::test_no_text_makes_a_second_command",
        ),
        (
            'if _LINE_END.search(text) or "\\0" in text:',
            "if _LINE_END.search(text):",
            "mail/test_addresses.py::test_a_line_end_is_refused",
        ),
        (
            "domain = ascii_domain(parsed.domain)",
            "domain = parsed.domain",
            "mail/test_addresses.py::test_the_envelope_form",
        ),
        (
            '_registry("To", quote_odd_dots(address))',
            '_registry("To", address)',
            "mail/test_addresses.py::test_dots_anywhere_in_a_local_part_are_those_of_one_address",
        ),
        (
            ' and not word.startswith("=?")',
            "",
            "mail/test_addresses.py::test_the_envelope_form",
        ),
        (
            'rpartition("@")[2].lower()',
            'rpartition("@")[2]',
            "mail/test_addresses.py::test_domain_of",
        ),
    ),
    *of(
        "mail/deprecation",
        "mail/test_functions.py mail/test_message.py",
        (
            "names[: given - after]",
            "names[: given - after - 1]",
            "mail/test_functions.py::test_wrong_positional_arguments_are_errors",
        ),
        (
            "if given > after + len(names):",
            "if False:",
            "mail/test_functions.py::test_wrong_positional_arguments_are_errors",
        ),
        (
            "level, frame = level + 1, frame.f_back",
            "frame = frame.f_back",
            "mail/test_functions.py::test_pairs_of_name_and_address_warn",
        ),
    ),
    *of(
        "mail/functions",
        "mail/test_functions.py mail/test_narrow_backends.py",
        (
            "        settings.SERVER_EMAIL,\n",
            "        settings.DEFAULT_FROM_EMAIL,\n",
            "mail/test_functions.py::test_mail_to_the_people_of_the_site",
        ),
        (
            "return connection or get_connection(",
            "return get_connection(",
            "mail/test_functions.py::test_a_given_connection_is_used",
        ),
        (
            "return isinstance(person, (tuple, list)) and len(person) == 2",
            "return False",
            "mail/test_functions.py::test_pairs_of_name_and_address_warn",
        ),
        (
            "settings.MANAGERS, subject",
            "settings.ADMINS, subject",
            "mail/test_functions.py::test_mail_to_the_people_of_the_site",
        ),
    ),
    *of(
        "mail/built",
        "queue/test_pairs.py",
        (
            "return chosen.clone(linesep=linesep) if linesep else chosen",
            "return chosen",
            "queue/test_pairs.py::test_djangos_way_of_writing_has_its_line_ends",
        ),
        (
            'if charset and part.get("Content-Transfer-Encoding") == "8bit":',
            "if False:",
            "queue/test_pairs.py::test_every_pair_delivers_what_was_composed",
        ),
    ),
    *of(
        "mail/header",
        "mail/test_headers.py mail/test_parts.py",
        (
            "    _refuse_bad_name(name)\n    given = value",
            "    given = value",
            "",
            "check_part looks at every name once more, and raises the same",
        ),
        (
            "return _with_ascii_domains(header, policy)",
            "return header",
            "mail/test_headers.py::test_domains_outside_ascii_are_idna",
        ),
        (
            "folded if _reads_back(header, body, policy) else _fold_addresses(header, policy)",
            "folded",
            "mail/test_headers.py::test_names_survive_folding",
        ),
        (
            "    encoded_in_quotes = any(",
            "    encoded_in_quotes = False and any(",
            "",
            "a guard against a Python that writes an encoded word within quotes: none is known",
        ),
    ),
    *of(
        "mail/message",
        "mail/test_message.py mail/test_headers.py",
        (
            'for name in ("to", "cc", "bcc"):',
            'for name in ("to", "cc"):',
            "mail/test_message.py::test_recipients_are_to_cc_and_bcc",
        ),
        (
            '        if "bcc" in given:\n',
            "        if False:\n",
            "mail/test_headers.py::test_a_bcc_header_is_refused",
        ),
        (
            'given.get("from", sender)',
            "sender",
            "mail/test_headers.py::test_headers_override_attributes",
        ),
        (
            "        if not self.recipients():\n",
            "        if False:\n",
            "mail/test_message.py::test_a_message_to_nobody_is_not_sent",
        ),
        (
            '            refuse_line_ends(str(address or ""), "Bcc")',
            "            pass",
            "mail/test_headers.py::test_no_header_takes_a_line_end",
        ),
        (
            "if isinstance(addresses, (str, bytes)) or not",
            "if isinstance(addresses, bytes) or not",
            "mail/test_message.py::test_a_string_is_no_list_of_addresses",
        ),
        (
            "        for part in outer_parts(built):\n            check_part(part)\n",
            "",
            "mail/test_attachments.py::test_a_newline_hidden_in_a_parameter_is_found",
        ),
        (
            "return self.connection or get_connection(fail_silently=fail_silently)",
            "return get_connection(fail_silently=fail_silently)",
            "mail/test_message.py::test_a_given_connection_is_used",
        ),
        (
            "if self.body or not (self.alternatives or self.attachments):",
            "if True:",
            "mail/test_alternatives.py::test_html_without_text",
        ),
        (
            'if mimetype.startswith("text/")\n',
            "\n",
            "mail/test_alternatives.py::test_body_contains",
        ),
    ),
    *of(
        "mail/msgid",
        "mail/test_msgid.py mail/test_headers.py",
        (
            "(idstring, domain or",
            "(idstring,",
            "mail/test_headers.py::test_make_msgid_takes_a_domain",
        ),
        (
            'return name.encode("idna").decode("ascii")',
            "return name",
            "mail/test_msgid.py::test_the_name_of_this_host_is_one_that_mail_may_carry",
        ),
        (
            "        except UnicodeError:\n",
            "        except OSError:\n",
            "mail/test_msgid.py::test_the_name_of_this_host_is_one_that_mail_may_carry",
        ),
    ),
    *of(
        "mail/part",
        "mail/test_bodies.py mail/test_parts.py",
        (
            "    if depth > MAX_DEPTH:\n",
            "    if False:\n",
            "mail/test_parts.py::test_parts_too_deep_to_be_written_are_refused",
        ),
        (
            "    if not isinstance(part, (MIMEPart, MIMEBase)):\n",
            "    if False:\n",
            "mail/test_parts.py::test_an_old_message_is_no_part",
        ),
        (
            "    part = deepcopy(part)\n",
            "",
            "mail/test_parts.py::test_a_header_of_an_old_part_outside_ascii_is_encoded",
        ),
        (
            "        _refuse_bad_payload(inner, part)",
            "        pass",
            "mail/test_parts.py::test_a_part_whose_payload_cannot_be_written_is_refused",
        ),
    ),
    *of(
        "mail/rendering/cache",
        "mail/test_cache.py mail/test_cache_size.py",
        (
            "                self._kept.move_to_end(key)\n",
            "",
            "mail/test_cache.py::test_what_was_wanted_longest_ago_goes_first",
        ),
        (
            "        if size > self._limit:\n            return\n",
            "",
            "mail/test_cache.py::test_what_is_larger_than_the_cache_takes_no_others_place",
        ),
        (
            "self._size += size - before",
            "self._size += size",
            "mail/test_cache_size.py::test_a_value_that_two_make_at_once_is_counted_once",
        ),
    ),
    *of(
        "mail/rendering/completion",
        "queue/test_completion.py",
        (
            " if n.lower() not in names}",
            "}",
            "queue/test_completion.py::test_what_the_application_set_itself_is_not_set_again",
        ),
        (
            "[writable_address(str(one)) for one in addresses if one]",
            "list(addresses)",
            "queue/test_completion.py::test_a_domain_that_only_newer_rules_know_is_written",
        ),
        (
            '"" if message.subject is None else message.subject',
            "message.subject",
            "queue/test_completion.py::test_a_mail_service_is_told_what_was_set_and_other_backends_are_told_all",
        ),
    ),
    *of(
        "mail/forwarded",
        "mail/test_forwarded.py",
        (
            'if (seven_bit and not data.isascii()) or b"\\0" in data:',
            "if False:",
            "mail/test_forwarded.py::test_what_no_server_takes_is_whole",
        ),
        (
            'if data.count(b"\\r") != with_cr or with_cr not in (0, data.count(b"\\n")):',
            "if False:",
            "mail/test_forwarded.py::test_what_no_server_takes_is_whole",
        ),
        (
            "default=0) <= LONGEST_LINE",
            "default=0) <= 10**9",
            "mail/test_forwarded.py::test_what_no_server_takes_is_whole",
        ),
        (
            " and _READABLE_TYPE.match(mimetype)",
            "",
            "mail/test_forwarded.py::test_a_type_that_nobody_reads_is_no_message",
        ),
        (
            'if is_report and data.endswith(b"\\n") else [data]',
            "if False else [data]",
            "mail/test_forwarded.py::test_a_delivery_report_is_written_as_it_came",
        ),
    ),
    *of(
        "mail/rendering/boundary",
        "mail/test_boundaries.py contracts/test_simple.py contracts/test_simple_parts.py",
        (
            'place = f"{id_} {number} {attempt}"',
            'place = f"{id_} {attempt}"',
            "mail/test_boundaries.py::test_no_boundary_begins_with_another",
        ),
        (
            "    return _lines(limit, data) > 0",
            "    return False",
            "mail/test_boundaries.py::test_a_text_may_have_the_lines_that_would_stand_between_parts",
        ),
        (
            "!= parts + 1",
            "< 0",
            "mail/test_boundaries.py::test_boundaries_that_were_given_are_kept_apart",
        ),
        (
            '        if part.get_content_subtype() == "signed":\n            return\n',
            "",
            "mail/test_boundaries.py::test_what_is_signed_keeps_the_boundaries_within",
        ),
    ),
    *of(
        "mail/rendering/fit",
        "mail/test_unfit_parts.py mail/test_forwarded.py",
        (
            "    own._headers = list(own._headers)\n",
            "",
            "mail/test_unfit_parts.py::test_what_was_built_stays_as_it_was",
        ),
        (
            "        put_bytes(part, data)\n        return\n",
            "        pass\n",
            "mail/test_forwarded.py::test_without_8bitmime_it_is_whole",
        ),
        (
            "data.decode(_charset(part))",
            'data.decode(_charset(part), "replace")',
            "mail/test_unfit_parts.py::test_eight_bits_in_any_charset_are_the_same_in_seven",
        ),
        (
            'replace(b"\\0", b"" if signed else b"\\0")',
            'replace(b"\\0", b"\\0")',
            "mail/test_unfit_parts.py::test_what_is_signed_is_left_as_it_is",
        ),
        (
            "    elif not is_fit(part, policy, signed=signed):",
            "    elif False:",
            "mail/test_unfit_parts.py::test_eight_bits_without_a_charset_are_encoded_for_seven",
        ),
    ),
    *of(
        "mail/rendering/flatten",
        "mail/test_forwarded.py mail/test_unfit_parts.py",
        (
            "linesep=linesep, seven_bit=seven_bit, utf8=utf8)",
            "linesep=linesep, utf8=utf8)",
            "mail/test_unfit_parts.py::test_a_backend_that_writes_seven_bits_has_each_part_encoded",
        ),
    ),
    *of(
        "mail/rendering/render",
        "mail/test_forwarded.py",
        (
            'linesep="\\r\\n", seven_bit=seven_bit, utf8=utf8',
            'linesep="\\r\\n", utf8=utf8',
            "mail/test_forwarded.py::test_without_8bitmime_it_is_whole",
        ),
    ),
    *of(
        "mail/rendering/generator",
        "mail/test_backends_bytes.py contracts/test_simple.py",
        (
            "mangle_from_=False",
            "mangle_from_=True",
            "mail/test_backends_bytes.py::test_a_from_at_the_start_of_a_line_is_sent_as_it_is",
        ),
    ),
    *of(
        "mail/rendering/proof",
        "contracts/test_writable.py contracts/test_simple.py",
        (
            "        _refuse_long_lines(data)\n",
            "",
            "contracts/test_writable.py::test_what_cannot_be_written_is_refused_and_named",
        ),
        (
            "_refuse_unsound(shape_of(message), policy_for(False, utf8))",
            "_refuse_unsound(shape_of(message), policy_for(False, True))",
            "contracts/test_writable.py::test_what_cannot_be_written_is_refused_and_named",
        ),
    ),
    *of(
        "mail/rendering/writing",
        "mail/test_backends_bytes.py contracts/test_writable.py",
        (
            "policy: Policy[Any] = built.policy.clone(**changes)",
            "policy: Policy[Any] = EmailPolicy(**changes)",
            "mail/test_backends_bytes.py::test_a_signature_over_headers_stays_valid",
        ),
        (
            "return LINE_END.sub(linesep.encode(), data)",
            "return data",
            "mail/test_backends_bytes.py::test_a_folded_header_that_was_read_has_the_line_ends_of_the_wire",
        ),
        (
            "        raise _explanation(whole, policy, error) from error",
            "        raise",
            "contracts/test_writable.py::test_what_cannot_be_written_is_refused_and_named",
        ),
    ),
    *of(
        "mail/rendering/shape",
        "contracts/test_simple.py mail/test_django.py",
        (
            ' and "message" not in vars(message)',
            "",
            "queue/test_message_attributes.py::test_a_message_that_was_given_a_method_of_its_own_is_built_by_that",
        ),
    ),
    *of(
        "mail/rendering/simple",
        "contracts/test_simple.py",
        (
            "number = 1 if shape.attachments else 0",
            "number = 0",
            "contracts/test_simple.py::test_the_usual_shapes_take_the_fast_path",
        ),
        (
            "    if not is_in_lines(text.encode()):\n",
            "    if False:\n",
            "contracts/test_simple_parts.py::test_a_part_with_a_nul_is_left_to_message",
        ),
    ),
    *of(
        "mail/routing",
        "mail/test_mailers.py mail/test_functions.py",
        (
            "if not _takes_oauth2(import_backend(path)):",
            "if False:",
            "oauth2/test_source.py::test_a_backend_that_cannot_log_in_so_is_an_error",
        ),
        (
            'if "oauth2" in options and not _takes_oauth2(backend):',
            "if False:",
            "oauth2/test_source.py::test_a_backend_that_cannot_log_in_so_is_an_error",
        ),
        (
            "elif connection is not None and fail_silently:",
            "elif False:",
            "mail/test_functions.py::test_a_connection_excludes_what_it_would_override",
        ),
        (
            "    if unknown:\n        raise InvalidMailer(",
            "    if False:\n        raise InvalidMailer(",
            "mail/test_mailers.py::test_a_wrong_definition_names_its_mailer",
        ),
        (
            'kwargs | ({"fail_silently": True} if fail_silently else {})',
            'kwargs | {"fail_silently": fail_silently}',
            "mail/test_mailers.py::test_a_backend_need_not_know_fail_silently",
        ),
        (
            "if n in named | _LOGIN}",
            "}",
            "mail/test_mailers.py::test_a_login_that_a_mailer_cannot_take_is_an_error",
        ),
        (
            "@without_frames  # whose variables are the options, passwords among them\n",
            "",
            "system/test_error_reports.py::test_a_report_of_a_wrong_mailer_shows_no_password",
        ),
        (
            "named | _LOGIN}",
            "named}",
            "mail/test_mailers.py::test_a_login_that_a_mailer_cannot_take_is_an_error",
        ),
        (
            "overrides if takes_any else {",
            "{",
            "mail/test_mailers.py::test_a_mailer_without_a_base_gets_what_was_asked_for_and_no_more",
        ),
        (
            "        options[_UNFIT] = set(fit)\n",
            "        pass\n",
            "mail/test_mailers.py::test_get_connection_returns_the_default_mailer",
        ),
        (
            "except MailerDoesNotExist:\n            return default",
            "except ImportError:\n            return default",
            "mail/test_mailers.py::test_a_mailer_that_is_not_there",
        ),
    ),
    *of(
        "mail/text",
        "mail/test_bodies.py mail/test_parts.py",
        (
            '    if "\\0" in text:\n',
            "    if False:\n",
            "mail/test_bodies.py::test_nul_is_written_in_a_form_that_servers_take",
        ),
        (
            "    if _is_line_transparent(charset):\n",
            "    if True:\n",
            "mail/test_bodies.py::test_encoding_is_the_charset_of_one_message",
        ),
        (
            "        return content, DEFAULT_TYPE",
            "        return content, mimetype",
            "mail/test_attachments.py::test_text_that_is_not_utf8_becomes_a_stream_of_bytes",
        ),
    ),
    *of(
        "mail/asynchronous",
        "system/test_asend.py",
        (
            "await asyncio.to_thread(send, message, fail_silently, using)",
            "send(message, fail_silently, using)",
            "system/test_asend.py::test_the_loop_goes_on_while_the_journal_is_silent",
        ),
        (
            "    refuse_combination(using=using, connection=None, fail_silently=fail_silently)\n",
            "",
            "system/test_asend.py::test_arguments_are_those_of_send",
        ),
        (
            "if not threading.main_thread().is_alive():",
            "if False:",
            "system/test_ending.py::test_the_first_message_at_exit",
        ),
    ),
]
