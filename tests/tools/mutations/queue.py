"""Mutations of the queue: what accepts and publishes, the spool, options, payloads."""

from .row import of

MUTATIONS = [
    *of(
        "queue/broker",
        "faults/test_outage.py",
        (
            "            _try_to_publish(connection)\n",
            "            pass\n",
            "faults/test_broker.py::test_a_rabbitmq_without_memory_holds_nobody_up",
        ),
        (
            "return self._clock() >= self._not_before",
            "return True",
            "faults/test_outage.py::test_a_broker_that_is_away_holds_up_one_send_and_not_the_next",
        ),
        (
            "            self._not_before = self._clock() + _SECONDS_LEFT_ALONE\n",
            "",
            "faults/test_outage.py::test_a_broker_that_is_away_holds_up_one_send_and_not_the_next",
        ),
        (
            '        "broker_read_url": url,\n        "broker_write_url": url,\n',
            "",
        ),
        (
            "if self._clock() - since < _SECONDS_UNUSED:",
            "if True:",
            "contracts/test_silence.py::test_a_send_on_a_quiet_site",
        ),
        (
            "raise _origin(error) from None",
            "raise OperationalError(str(error)) from error",
            "system/test_interrupted_send.py::test_at_some_points",
        ),
        (
            ", fixups=())",
            ")",
            "system/test_first_send.py::test_the_first_send_leaves_the_process_as_it_was",
        ),
        (
            "        if isinstance(found, Celery):\n",
            "        if found is not None:\n",
            "system/test_project_options.py::test_a_wrong_application_is_an_error_before_anything_is_accepted",
        ),
    ),
    *of(
        "queue/handover",
        "contracts/test_handover.py",
        (
            'message if hasattr(backend, "esp_name") else complete(message)',
            "complete(message)",
            "contracts/test_handover.py::test_a_mail_service_is_handed_what_the_application_set",
        ),
        (
            'message if hasattr(backend, "esp_name") else complete(message)',
            "message",
            "contracts/test_handover.py::test_each_attempt_hands_over_the_same_message_id_and_date",
        ),
        (
            '    vars(handed).pop("send_at", None)  # None would be a time for Anymail\n',
            "",
            "contracts/test_handover.py::test_a_time_that_the_queue_has_waited_for_is_told_to_nobody",
        ),
    ),
    *of(
        "queue/options",
        "system/test_options.py contracts/test_payload.py",
        (
            "if value is None or isinstance(value, type):",
            "if value is None:",
            "queue/test_options.py::test_what_is_marked_as_unset_is_not_wished_for",
        ),
        (
            "    if not first <= seconds < last:\n",
            "    if not seconds < last:\n",
            "queue/test_options.py::test_what_is_no_point_in_time_is_an_error_that_says_how_to_write_one",
        ),
    ),
    *of(
        "queue/payload/attribute",
        "contracts/test_payload.py",
        (
            "if name not in own} | found",
            "} | found",
            "queue/test_message_attributes.py::test_what_is_unset_on_a_message_hides_what_its_class_says",
        ),
        (
            "    if unfit:\n",
            "    if False:\n",
            "queue/test_left_behind.py::test_what_can_neither_travel_nor_stay_is_an_error",
        ),
        (
            "for c in class_.__mro__)",
            "for c in [class_])",
            "queue/test_left_behind.py::test_what_a_class_leaves_behind_its_subclasses_leave_behind_too",
        ),
        (
            " or getattr(sys.modules.get(module), name, None) is class_",
            "",
            "queue/test_packages.py::test_a_class_may_be_named_in_other_ways",
        ),
        (
            'return _ACCOUNTED_FOR - {"alternatives"}',
            "return _ACCOUNTED_FOR",
            "queue/test_payload_for_django.py::test_alternatives_of_a_class_without_them_are_an_attribute",
        ),
    ),
    *of(
        "queue/payload/blob",
        "mail/test_cache.py system/test_accepting.py",
        (
            "if sha256(content) != name:",
            "if False:",
            "mail/test_cache.py::test_a_stored_attachment_that_is_not_what_it_was_is_refused",
        ),
    ),
    *of(
        "queue/payload/dump",
        "contracts/test_payload.py",
        (
            "    except (ValueError, TypeError):\n        return True\n",
            "    except (ValueError, TypeError):\n        return False\n",
            "queue/test_payload_for_django.py::test_what_only_djangos_classes_build_travels_as_they_built_it",
        ),
        (
            "    if sender != given:\n",
            "    if False:\n",
            "queue/test_completion.py::test_the_first_of_several_senders_stands_for_them",
        ),
        (
            "to_json(value) if _is_number(value) or value is None else text",
            "text",
            "queue/test_completion.py::test_a_number_in_a_header_is_a_number_for_a_mail_service_and_text_in_mail",
        ),
        (
            "    if isinstance(value, str) or is_lazy_text(value):\n",
            "    if False:\n",
            "queue/test_completion.py::test_a_string_for_a_list_of_reply_addresses_is_refused",
        ),
        (
            '    if "Date" not in rendered:\n',
            "    if False:\n",
            "queue/test_payload_rendered.py::test_a_message_that_lacks_date_and_id_gets_them_when_it_is_queued",
        ),
        (
            "    if size > limit:\n",
            "    if False:\n",
            "system/test_accepting.py::test_a_message_that_is_too_large_is_an_error_that_says_so",
        ),
        (
            '    if not _BUILDING.isdisjoint(getattr(message, "__dict__", ())):\n',
            "    if False:\n",
            "queue/test_left_behind.py::test_a_method_that_was_replaced_on_a_message_builds_it",
        ),
        (
            "if dump(name, value, whole) != said.get(name, SHAPE.get(name)):",
            "if True:",
            "queue/test_payload_rendered.py::test_what_its_mime_says_is_not_carried_twice",
        ),
        (
            " + sum(map(len, blobs.used.values()))",
            "",
            "system/test_accepting.py::test_a_message_that_is_too_large_is_an_error_that_says_so",
        ),
    ),
    *of(
        "queue/payload/codec",
        "contracts/test_payload.py",
        (
            "    if not inflater.eof:\n",
            "    if False:\n",
            "contracts/test_payload.py::test_a_payload_that_would_inflate_beyond_all_bounds_is_refused",
        ),
    ),
    *of(
        "queue/payload/kind",
        "contracts/test_payload.py",
        (
            "if import_class(path) is not type(message):",
            "if False:",
            "contracts/test_payload.py::test_a_name_that_does_not_lead_to_the_class_is_an_error",
        ),
        (
            "    if family == _OURS:\n",
            "    if False:\n",
            "queue/test_payload_for_django.py::test_the_family_stays_what_it_was",
        ),
        (
            "return all(found.get(name, SHAPE[name]) == SHAPE[name] for name in subtypes)",
            "return True",
            "",
            "Django 5.2 takes what 6.0 refuses; python -m tests.tools.pairs finds it",
        ),
        (
            "[_OUR_FAMILY, *([django] if django else [])]",
            "[django or _OUR_FAMILY]",
            "queue/test_payload_for_django.py::test_a_named_class_of_ours_is_rebuilt_where_django_is_too",
        ),
    ),
    *of(
        "queue/payload/derived",
        "queue/test_payload_rendered.py",
        (
            "found[name] = [spelled[box] for box in boxes if box in spelled]",
            "found[name] = addresses",
            "queue/test_payload_rendered.py::test_recipients_of_before_are_who_was_to_get_it",
        ),
        (
            "        if id(inner) in shown:\n            continue\n",
            "",
            "queue/test_payload_rendered.py::test_attributes_of_before_are_read_from_the_mime",
        ),
    ),
    *of(
        "queue/payload/content",
        "contracts/test_payload.py system/test_accepting.py",
        (
            "return found if isinstance(found, bytes) else b64decode(found)",
            "return b64decode(found)",
            "system/test_accepting.py::test_a_large_attachment_is_stored_once_and_arrives_with_every_message",
        ),
    ),
    *of(
        "queue/payload/load",
        "contracts/test_payload.py",
        (
            "if found.get(name, usual) != getattr(message, name, usual):",
            "if name in found:",
            "",
            "Django 5.2 takes what 6.1 refuses; there test_payload_for_django.py finds it",
        ),
    ),
    *of(
        "queue/payload/part",
        "queue/test_part.py contracts/test_payload.py",
        (
            '    part.set_default_type(found["type"])\n',
            "",
            "queue/test_part.py::test_a_digest_travels_as_what_it_is",
        ),
        (
            'part.preamble, part.epilogue = found["preamble"], found["epilogue"]',
            'part.preamble = found["preamble"]',
            "queue/test_part.py::test_a_digest_travels_as_what_it_is",
        ),
    ),
    *of(
        "queue/payload/rendered",
        "contracts/test_payload.py",
        (
            'default.clone(refold_source="none")',
            "default",
            "contracts/test_payload.py::test_what_travels_as_it_was_built_is_not_folded_anew",
        ),
        (
            'chosen.clone(refold_source="none") if isinstance(chosen, EmailPolicy) else chosen',
            "chosen",
            "queue/test_payload_rendered.py::test_nothing_folds_it_anew",
        ),
    ),
    *of(
        "queue/payload/value",
        "contracts/test_payload.py",
        (
            '{"$object": found} if any(name in _LOADERS for name in found) else found',
            "found",
            "contracts/test_payload.py::test_attributes_travel_by_themselves",
        ),
    ),
    *of(
        "queue/call",
        "system/test_sending_again.py system/test_sending_lists_again.py",
        (
            "                free.remove(earlier)\n",
            "",
            "system/test_sending_lists_again.py::test_an_object_that_stands_in_a_list_twice_is_two_messages",
        ),
        (
            "dict.fromkeys(call for one in found for call in one.open_in)",
            "{}",
            "system/test_sending_again_property.py::test_every_call_that_returned_is_in_the_journal_once",
        ),
        (
            "            memory.keep(message, ())\n",
            "            pass\n",
            "system/test_sending_again.py::test_an_unchanged_object_is_one_message_until_it_has_been_sent",
        ),
        (
            "doubt = self.in_doubt or submission.in_doubt",
            "doubt = self.in_doubt",
            "system/test_outage_in_doubt.py::test_what_is_in_doubt_is_never_sent_at_once",
        ),
        (
            "(AttributeError, LookupError, TypeError, ValueError):\n        return  # no",
            "AttributeError:\n        return  # no",
            "system/test_sending_again.py::test_an_object_of_any_kind_is_known_again",
        ),
    ),
    *of(
        "queue/earlier",
        "system/test_sending_again.py system/test_sending_lists_again.py",
        (
            "return (is_set_so or self.content == other.content) and self.options == other.options",
            "return is_set_so or self.content == other.content",
            "system/test_sending_again.py::test_another_queue_of_the_backend_makes_another_message",
        ),
        (
            "return self.depends_on is None or self.depends_on.open > 0",
            "return True",
            "system/test_sending_lists_again.py::test_what_was_accepted_is_forgotten_when_the_rest_has_been_sent",
        ),
        (
            "            self._held[key] = message\n",
            "",
            "system/test_sending_again.py::test_an_object_of_any_kind_is_known_again",
        ),
    ),
    *of(
        "queue/misnomer",
        "queue/test_options.py",
        (
            "        if value is None or callable(value):",
            "        if value is None:",
            "queue/test_options.py::test_a_method_may_have_any_name",
        ),
        (
            "        if is_left_behind(message, name):",
            "        if False:",
            "queue/test_options.py::test_a_name_that_is_left_behind_is_no_wish",
        ),
        (
            "or letters in _NO_MISNOMERS",
            "",
            "queue/test_options.py::test_attributes_of_others_are_nobodys_wish",
        ),
        (
            "swapped = rest[1::-1] + rest[2:]",
            "swapped = rest",
            "queue/test_options.py::test_a_name_that_comes_close_to_an_option_is_an_error_that_names_it",
        ),
    ),
    *of(
        "queue/payload/likeness",
        "system/test_sending_again.py",
        (
            'text.replace(boundary, "") if boundary else text',
            "text",
            "system/test_sending_again.py::test_an_object_of_any_kind_is_known_again",
        ),
        (
            " & {*fresh, *_SIGNATURES}:",
            " & {*fresh}:",
            "",
            "what was set on the message tells that it is the same, too",
        ),
    ),
    *of(
        "queue/portion",
        "system/test_accepting.py system/test_sending_lists_again.py",
        (
            "        size += portion.size + _ABOUT_A_MESSAGE * len(portion.messages)\n",
            "",
            "system/test_sending_lists_again.py::test_a_list_of_large_messages_takes_bounded_memory",
        ),
        (
            "for portion in portions(iter(rest), None, queue) if rest else ():",
            "for portion in ():",
            "system/test_sending_lists_again.py::test_a_list_that_is_checked_and_not_kept_is_sent_as_well",
        ),
        (
            "            now = now._replace(set_by=0) if second == now.content else now\n",
            "",
            "",
            "what was set differs as well, unless what the class renders depends on more than that",
        ),
        (
            "        self._held.clear()\n",
            "",
            "system/test_accepting.py::test_a_generator_of_large_messages_takes_bounded_memory",
        ),
    ),
    *of(
        "queue/producer",
        "system/test_outage_in_doubt.py faults/test_spool.py",
        (
            "    if isinstance(error, EnqueueUnknown) or not in_doubt:\n",
            "    if True:\n",
            "system/test_sending_again.py::test_what_is_in_doubt_is_not_said_to_be_refused",
        ),
        (
            "            call.fail()\n",
            "            pass\n",
            "system/test_sending_again.py::test_an_unchanged_object_is_one_message_until_it_has_been_sent",
        ),
        (
            "            if not submission.is_accepted:\n",
            "            if True:\n",
            "system/test_sending_lists_again.py::test_what_was_sent_directly_is_not_sent_again",
        ),
        (
            "refused = not isinstance(error, EnqueueUnknown)",
            "refused = True",
            "faults/test_spool.py::test_what_may_have_been_accepted_is_not_sent_at_once",
        ),
        (
            "    if not isinstance(error, _LeftAlone):\n",
            "    if True:\n",
            "system/test_outage_in_doubt.py::test_a_journal_that_was_away_is_asked_again_after_five_seconds",
        ),
        (
            "if not (self._fail_silently and isinstance(error, EnqueueError)):",
            "if not isinstance(error, EnqueueError):",
            "faults/test_outage.py::test_a_stopped_server_is_a_clear_error_in_time",
        ),
        (
            "            producer_app()  # a wrong",
            "            pass  # a wrong",
            "system/test_project_options.py::test_a_wrong_application_is_an_error_before_anything_is_accepted",
        ),
    ),
    *of(
        "queue/submission",
        "faults/test_spool.py",
        (
            "self.in_doubt or self.waits",
            "self.waits",
            "system/test_outage_in_doubt.py::test_what_is_in_doubt_is_never_sent_at_once",
        ),
    ),
    *of(
        "queue/project",
        "worker/test_task_options.py",
        (
            "return queues.add(queues.new_missing(name))",
            "return queues.add(name)",
            "worker/test_task_options.py::test_a_queue_that_is_missing_is_made_all_the_same",
        ),
        (
            "return _JSON in types and _JSON not in",
            "return _JSON in types or _JSON not in",
            "worker/test_task_options.py::test_what_keeps_mail_from_going_or_has_no_effect_is_said",
        ),
    ),
    *of(
        "queue/publisher",
        "system/test_tasks.py",
        (
            '{queue}, messages: {len(ids)}{extent}}}"',
            '{queue}, messages: {messages}}}"',
            "system/test_tasks.py::test_tasks_show_counts_and_ids_and_never_content",
        ),
        (
            "        router=Router(app),\n",
            "",
            "system/test_project_options.py"
            "::test_a_task_is_published_to_its_queue_whatever_the_projects_tasks_are",
        ),
    ),
    *of(
        "queue/quickjson",
        "queue/test_quickjson.py",
        (
            "    except ValueError:\n        return json.loads(text)",
            "    except ValueError:\n        raise",
            "queue/test_quickjson.py::test_what_is_no_json_is_the_same_error",
        ),
        (
            "    except (TypeError, ValueError):\n",
            "    except ValueError:\n",
            "queue/test_quickjson.py::test_what_msgspec_does_not_write_is_written_as_before",
        ),
    ),
    *of(
        "queue/files",
        "faults/test_spool_place.py",
        (
            "os.O_EXCL, 0o600)",
            "os.O_EXCL, 0o644)",
            "faults/test_spool.py::test_a_spooled_message_is_a_file_of_ones_own_and_is_accepted_later",
        ),
        (
            "    if not above.st_mode & stat.S_IWGRP:\n        return\n",
            "",
            "faults/test_spool_place.py::test_the_directory_says_who_shares_the_spool",
        ),
        (
            "    os.fchmod(descriptor, mode)\n",
            "",
            "faults/test_spool_place.py::test_the_directory_says_who_shares_the_spool",
        ),
        (
            "        os.fchown(descriptor, -1, above.st_gid)\n",
            "        pass\n",
            "faults/test_spool_place.py::test_program_and_worker_of_two_users_share_a_spool_by_a_group",
        ),
        (
            "if existing == directory and directory.stat().st_mode & stat.S_IWOTH:",
            "if False:",
            "faults/test_spool_place.py::test_a_spool_that_can_not_be_had_is_an_error_at_the_first_send",
        ),
    ),
    *of(
        "queue/caretaker",
        "faults/test_spool_place.py",
        (
            "with suppress(FileExistsError):",
            "with suppress():",
            "faults/test_spool_place.py::test_a_spool_is_known_wherever_it_is_mounted",
        ),
        (
            ", px=round(seconds * 1000))",
            ")",
            "faults/test_spool_place.py::test_a_spool_is_known_wherever_it_is_mounted",
        ),
    ),
    *of(
        "queue/spool",
        "faults/test_spool_place.py",
        (
            "    return [current_spool(), *([Spool(former, current_sealer())] if former else [])]",
            "    return [current_spool()]",
            "faults/test_spool_place.py::test_what_earlier_versions_left_is_handed_over",
        ),
    ),
    *of(
        "queue/producer",
        "faults/test_spool_place.py",
        (
            "                _prepare_spool()  # likewise\n",
            "                pass  # likewise\n",
            "faults/test_spool_place.py::test_a_spool_that_can_not_be_had_is_an_error_at_the_first_send",
        ),
    ),
    *of(
        "queue/accepted",
        "system/test_fate.py",
        (
            "for id_ in text.split())",
            "for id_ in text.split()[:1])",
            "system/test_fate.py::test_the_number_that_is_returned_knows_the_ids",
        ),
    ),
    *of(
        "queue/fate",
        "system/test_fate.py",
        (
            "if one is None or one.is_spooled]",
            "if one is None]",
            "system/test_fate.py::test_what_lies_in_the_spool_is_not_unknown",
        ),
        (
            "        if None in found.values():\n            raise\n",
            "        raise\n",
            "system/test_fate.py::test_what_lies_in_the_spool_is_not_unknown",
        ),
        (
            "        if None in found.values():\n            raise\n",
            "        pass\n",
            "system/test_fate.py::test_the_journal_away_is_an_error",
        ),
        (
            "asked[start : start + _AT_ONCE]",
            "asked[:_AT_ONCE]",
            "system/test_fate.py::test_many_are_asked_for_at_once",
        ),
        (
            "record.due if record.state in _AWAITING_A_TIME else None",
            "record.due",
            "system/test_fate.py::test_a_message_that_waits_for_its_time_says_when",
        ),
        (
            'or Result(record.state, record.replies.get(address, ""))',
            'or Result(record.state, "")',
            "system/test_fate.py::test_the_fate_of_each_recipient_is_told",
        ),
    ),
    *of(
        "queue/liveness",
        "queue/test_liveness.py",
        ("return not seconds or seconds > _LONGEST", "return not seconds"),
        ("return not seconds or seconds > _LONGEST", "return bool(seconds) and seconds > _LONGEST"),
        ('scheme in schemes or scheme.removesuffix("s") in schemes', "scheme in schemes"),
        ('"health_check_interval": patience,', ""),
        ("max(1, round(2 * patience))", "120"),
    ),
]
