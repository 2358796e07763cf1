"""Mutations of the queue: payloads, attachments, seals, the spool, what accepts and publishes."""

from .row import of

MUTATIONS = [
    *of(
        "queue/payload/codec",
        "contracts/test_payload.py",
        (
            '    if "Date" not in rendered:\n',
            "    if False:\n",
            "unit/test_payload_rendered.py::test_a_message_that_lacks_date_and_id_gets_them_when_it_is_queued",
        ),
        (
            "    if size > limit:\n",
            "    if False:\n",
            "integration/test_accepting.py::test_a_message_that_is_too_large_is_an_error_that_says_so",
        ),
        (
            " + sum(map(len, blobs.used.values()))",
            "",
            "integration/test_accepting.py::test_a_message_that_is_too_large_is_an_error_that_says_so",
        ),
    ),
    *of(
        "queue/payload/attribute",
        "contracts/test_payload.py",
        (
            "_class_attributes(type(message)) | found",
            "found | _class_attributes(type(message))",
            "unit/test_message_attributes.py::test_what_one_message_says_counts_more_than_what_its_class_says",
        ),
    ),
    *of(
        "queue/payload/blob",
        "unit/test_cache.py integration/test_accepting.py",
        (
            "if sha256(content) != name:",
            "if False:",
            "unit/test_cache.py::test_a_stored_attachment_that_is_not_what_it_was_is_refused",
        ),
    ),
    *of(
        "queue/payload/content",
        "contracts/test_payload.py integration/test_accepting.py",
        (
            "return found if isinstance(found, bytes) else b64decode(found)",
            "return b64decode(found)",
            "integration/test_accepting.py::test_a_large_attachment_is_stored_once_and_arrives_with_every_message",
        ),
    ),
    *of(
        "store/sealing",
        "unit/test_sealer.py integration/test_sealing.py",
        (
            "in self._ciphers.items():\n            token",
            "in reversed(self._ciphers.items()):\n            token",
        ),
        (
            "_ELSEWHERE if isinstance(error, KeyMissing) else _DAMAGED",
            "_DAMAGED",
            "unit/test_sealer.py",
        ),
        (
            "except (KeyMissing, PayloadError, ValueError) as error:",
            "except PayloadError as error:",
            "unit/test_sealer.py",
        ),
    ),
    *of(
        "queue/quickjson",
        "unit/test_quickjson.py",
        (
            "    except ValueError:\n        return json.loads(text)",
            "    except ValueError:\n        raise",
            "unit/test_quickjson.py::test_what_is_no_json_is_the_same_error",
        ),
        (
            "    except (TypeError, ValueError):\n",
            "    except ValueError:\n",
            "unit/test_quickjson.py::test_what_msgspec_does_not_write_is_written_as_before",
        ),
    ),
    *of(
        "queue/publisher",
        "integration/test_tasks.py",
        (
            '{queue}, messages: {len(ids)}{extent}}}"',
            '{queue}, messages: {messages}}}"',
            "integration/test_tasks.py::test_tasks_show_counts_and_ids_and_never_content",
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
    *of(
        "queue/portion",
        "integration/test_accepting.py faults/test_producer.py faults/test_spool.py",
        (
            'vars(message).pop("_mailqueue_pending", None) or',
            'vars(message).get("_mailqueue_pending") or',
            "integration/test_sending_again.py::test_what_was_refused_once_is_an_ordinary_message_afterwards",
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
        "queue/options",
        "integration/test_options.py contracts/test_payload.py",
        (
            "if value is None or isinstance(value, type):",
            "if value is None:",
            "unit/test_options_unset.py::test_what_is_marked_as_unset_is_not_wished_for",
        ),
    ),
    *of(
        "events",
        "faults/test_outage.py",
        (
            "    if _reporting.get():\n",
            "    if False:\n",
            "faults/test_outage.py::test_errors_that_are_mailed_do_not_run_in_a_circle",
        ),
    ),
    *of(
        "mail/rendering/cache",
        "unit/test_cache.py unit/test_cache_size.py",
        (
            "                self._kept.move_to_end(key)\n",
            "",
            "unit/test_cache.py::test_what_was_wanted_longest_ago_goes_first",
        ),
        (
            "        if size > self._limit:\n            return\n",
            "",
            "unit/test_cache.py::test_what_is_larger_than_the_cache_takes_no_others_place",
        ),
        (
            "self._size += size - before",
            "self._size += size",
            "unit/test_cache_size.py::test_a_value_that_two_make_at_once_is_counted_once",
        ),
    ),
    *of(
        "errors",
        "unit/test_error_tree.py",
        (
            "class EnqueueError(MailqueueError, SMTPException)",
            "class EnqueueError(MailqueueError)",
            "unit/test_error_tree.py::test_an_error_is_also_what_a_stranger_would_catch",
        ),
        (
            "class JournalUnavailable(EnqueueError, ConnectionError)",
            "class JournalUnavailable(EnqueueError)",
            "unit/test_error_tree.py::test_an_error_is_also_what_a_stranger_would_catch",
        ),
        (
            "class MailerDoesNotExist(InvalidMailer, KeyError)",
            "class MailerDoesNotExist(InvalidMailer)",
            "unit/composing/test_mailers.py::test_a_mailer_that_is_not_there",
        ),
    ),
]
