"""Mutations of the queue: what accepts and publishes, the spool, options, payloads."""

from .row import of

MUTATIONS = [
    *of(
        "queue/broker",
        "faults/test_outage.py",
        (
            "return time.monotonic() >= self._not_before",
            "return True",
            "faults/test_outage.py::test_a_broker_that_is_away_holds_up_one_send_and_not_the_next",
        ),
        (
            "            self._not_before = time.monotonic() + _SECONDS_LEFT_ALONE\n",
            "",
            "faults/test_outage.py::test_a_broker_that_is_away_holds_up_one_send_and_not_the_next",
        ),
        (
            ', "broker_read_url": url, "broker_write_url": url}',
            "}",
            "queue/test_broker_url.py::test_the_broker_of_the_projects_celery_is_not_taken_for_ours",
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
        "queue/options",
        "system/test_options.py contracts/test_payload.py",
        (
            "if value is None or isinstance(value, type):",
            "if value is None:",
            "queue/test_options_unset.py::test_what_is_marked_as_unset_is_not_wished_for",
        ),
    ),
    *of(
        "queue/payload/attribute",
        "contracts/test_payload.py",
        (
            "_class_attributes(type(message)) | found",
            "found | _class_attributes(type(message))",
            "queue/test_message_attributes.py::test_what_one_message_says_counts_more_than_what_its_class_says",
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
            'policy.default.clone(refold_source="none")',
            "policy.default",
            "contracts/test_payload.py::test_what_travels_as_it_was_built_is_not_folded_anew",
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
        "queue/portion",
        "system/test_accepting.py faults/test_producer.py faults/test_spool.py",
        (
            'vars(message).pop("_mailqueue_pending", None) or',
            'vars(message).get("_mailqueue_pending") or',
            "system/test_sending_again.py::test_what_was_refused_once_is_an_ordinary_message_afterwards",
        ),
    ),
    *of(
        "queue/producer",
        "system/test_outage_in_doubt.py faults/test_spool.py",
        (
            "in_doubt = submission.in_doubt or isinstance",
            "in_doubt = isinstance",
            "system/test_outage_in_doubt.py::test_what_is_in_doubt_is_never_sent_at_once",
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
            "                if not self._fail_silently:\n                    raise\n",
            "",
            "faults/test_outage.py::test_a_stopped_server_is_a_clear_error_in_time",
        ),
        (
            "            producer_app()  # a wrong",
            "            pass  # a wrong",
            "system/test_project_options.py::test_a_wrong_application_is_an_error_before_anything_is_accepted",
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
        "queue/spool",
        "faults/test_spool.py",
        (
            "os.O_EXCL, 0o600)",
            "os.O_EXCL, 0o644)",
            "faults/test_spool.py::test_a_spooled_message_is_a_file_of_ones_own_and_is_accepted_later",
        ),
    ),
]
