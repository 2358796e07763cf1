"""Mutations of what speaks to Redis or Valkey: connections, scripts, seals."""

from .row import of

MUTATIONS = [
    *of(
        "store/client",
        "contracts/test_script.py faults/test_outage.py",
        (
            "unknown) from error.with_traceback(None)",
            "unknown) from error",
            "system/test_error_reports.py::"
            "test_a_report_of_a_login_that_the_journal_refuses_shows_no_password",
        ),
        (
            "    if unknown:\n        return EnqueueUnknown(",
            "    if False:\n        return EnqueueUnknown(",
            "contracts/test_script.py::test_lost_while_an_answer_is_outstanding",
        ),
        (
            "if isinstance(error, redis.MaxConnectionsError):",
            "if False:",
            "contracts/test_script.py::test_all_in_use",
        ),
        (
            "            max_connections=_UNBOUNDED,\n",
            "",
            "contracts/test_script.py::test_more_at_once_than_redis_py_allows_by_itself",
        ),
        (
            "pool.release(pool.get_connection())",
            "pool.get_connection()",
            "contracts/test_script.py::test_a_small_pool",
        ),
    ),
    *of(
        "store/client",
        "contracts/test_journal_condition.py",
        (
            "_connect_anew(client)\n        said",
            "pass\n        said",
        ),
        ("    client.connection_pool.disconnect(inuse_connections=False)\n", "    pass\n"),
    ),
    *of(
        "store/condition",
        "contracts/test_journal_condition.py",
        ('getattr(error, "status_code", None) or str', "str"),
    ),
    *of(
        "store/direct",
        "contracts/test_redis_py.py",
        ("if pack is None:", "if False:", "packaging/test_redis_versions.py::test_without_hiredis"),
        ("signature(getattr(kind, name)).bind(None, *arguments)", "getattr(kind, name)"),
        ('    "send_command": ("EVAL", ""),\n', ""),
        ('if _read(connection) not in ("PONG", redis.ResponseError):', "if not _read(connection):"),
        ("if _read(connection) is not redis.ResponseError:", "if not _read(connection):"),
        ("if connection.can_read():", "if False:"),
        (
            "except (redis.RedisError, *CHANGED) as error:",
            "except redis.RedisError as error:",
        ),
        ("connection if self._is_tried else", "connection if True else"),
        (
            "            self._pool.drop(connection)\n            self._give_way(found)",
            "            self._give_way(found)",
        ),
        (
            "self._not_before = self._clock() + _SECONDS_UNTRIED",
            "self._not_before = float('inf')",
            "contracts/test_redis_py.py::test_trouble_at_the_first_call",
        ),
        (
            "if isinstance(error, redis.ConnectionError):",
            "if False:",
            "contracts/test_redis_py.py::test_trouble_at_the_first_call",
        ),
        (
            "except (redis.ConnectionError, redis.TimeoutError):",
            "except redis.TimeoutError:",
            "contracts/test_redis_py.py::test_trouble_at_the_first_call",
        ),
    ),
    *of(
        "store/__init__",
        "system/test_ending.py",
        ("import_threads()  #", "pass  #"),
    ),
    *of(
        "store/ending",
        "system/test_ending.py",
        ("except RuntimeError:", "except ZeroDivisionError:"),
    ),
    *of(
        "store/pool",
        "contracts/test_script.py contracts/test_silence.py",
        (
            "        if connection.can_read():  # the end",
            "        if False:  # the end",
            "contracts/test_script.py::test_closed_while_idle",
        ),
        (
            "if self._process != os.getpid():",
            "if False:",
            "contracts/test_script.py::test_fork",
        ),
        (
            "            connection.disconnect()\n",
            "            pass\n",
            "contracts/test_script.py::test_too_late",
        ),
        (
            "if exc_info()[0] is not None:",
            "if False:",
            "contracts/test_script.py::test_left_in_the_middle",
        ),
        (
            "            gc.collect()  #",
            "            pass  #",
            "system/test_interrupted_send.py::test_at_some_points",
        ),
        (
            "return self.clock() - idle.since >= _SECONDS_UNASKED",
            "return False",
            "contracts/test_silence.py::test_one_that_was_idle_is_replaced",
        ),
        (
            "                self.disconnect(inuse_connections=False)  #",
            "                pass  #",
            "contracts/test_silence.py::test_all_that_were_idle_are_given_up_together",
        ),
        (
            "(redis.ResponseError):  # some users may not even ask that\n"
            "            connection.read_response()\n        return True",
            "(redis.ResponseError):\n            connection.read_response()\n        return False",
            "contracts/test_silence.py::test_one_that_lives_is_asked_and_used",
        ),
        (
            '("socket_timeout", "socket_connect_timeout"), within)',
            '("socket_timeout", "socket_connect_timeout"), self.timeout)',
            "contracts/test_silence.py::test_an_answer_that_is_late_makes_one_message",
        ),
    ),
    *of(
        "store/script",
        "contracts/test_script.py contracts/test_redis_py.py",
        ("            known = unknown\n", ""),
        ("                asked.drop()\n", ""),
        ("        self._pool.keep(self._connection)\n", ""),
        (
            "                raise lost from None",
            "                raise",
            "contracts/test_silence.py::test_an_answer_that_is_late_makes_one_message",
        ),
        (
            "except EnqueueUnknown as lost:",
            "except ZeroDivisionError as lost:",
            "contracts/test_silence.py::test_a_send_over_one_that_dies_in_use",
        ),
        ("        if self._error is not None:\n", "        if False:\n"),
        ("        ensure_connected(script.client)\n", ""),
    ),
    *of(
        "store/version",
        "store/test_version.py",
        ("if not found or found >= OLDEST_REDIS:", "if not found or said >= str(OLDEST_REDIS):"),
        ("if not found or found >= OLDEST_REDIS:", "if found >= OLDEST_REDIS:"),
    ),
    *of(
        "store/opening",
        "store/test_opening.py",
        ("settings.MAILQUEUE.ENQUEUE_TIMEOUT", "60.0"),
        ("current_sealer())", "Sealer())"),
    ),
    *of(
        "store/sealing",
        "store/test_sealing.py system/test_sealing.py",
        (
            "in self._ciphers.items():\n            token",
            "in reversed(self._ciphers.items()):\n            token",
        ),
        (
            "_ELSEWHERE if isinstance(error, KeyMissing) else _DAMAGED",
            "_DAMAGED",
            "store/test_sealing.py",
        ),
        (
            "except (KeyMissing, PayloadError, ValueError) as error:",
            "except PayloadError as error:",
            "store/test_sealing.py",
        ),
    ),
    *of(
        "store/spin",
        "store/test_spin.py",
        (
            "min(2 * self._to_pass, _MOST_PASSED)",
            "2 * self._to_pass",
            "store/test_spin.py::test_a_server_that_is_far_away_is_slept_for",
        ),
        (
            "type(connected).__module__ not in _KINDS",
            "False",
            "store/test_spin.py::test_a_greenlet_keeps_no_others_waiting",
        ),
    ),
]
