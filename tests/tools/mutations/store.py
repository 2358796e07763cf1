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
        "store/direct",
        "contracts/test_redis_py.py",
        ("if pack is None:", "if False:", "packaging/test_redis_versions.py::test_without_hiredis"),
        ("signature(getattr(kind, name)).bind(None, *arguments)", "getattr(kind, name)"),
        ('    "send_command": ("EVAL", ""),\n', ""),
        ('if _read(connection) not in ("PONG", redis.ResponseError):', "if not _read(connection):"),
        ("if _read(connection) is not redis.ResponseError:", "if not _read(connection):"),
        ("if connection.can_read():", "if False:"),
        ("except Exception as error:  #", "except redis.RedisError as error:  #"),
        (
            "except (redis.ConnectionError, redis.TimeoutError):",
            "except redis.TimeoutError:",
            "contracts/test_redis_py.py::test_trouble_at_the_first_call",
        ),
    ),
    *of(
        "store/pool",
        "contracts/test_script.py contracts/test_redis_py.py",
        (
            "self.process == os.getpid() and not self.connection.can_read()",
            "self.process == os.getpid()",
            "contracts/test_script.py::test_closed_while_idle",
        ),
        (
            "self.process == os.getpid() and not self.connection.can_read()",
            "not self.connection.can_read()",
            "contracts/test_script.py::test_fork",
        ),
        ("if not self.kept.give_up():", "if True:"),
        ("        connection.disconnect()\n", ""),
        (
            "            self.drop(connection)\n            self._give_way(found)",
            "            self._give_way(found)",
        ),
        ("connection if self._is_tried else", "connection if True else"),
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
    ),
    *of(
        "store/script",
        "contracts/test_script.py contracts/test_redis_py.py",
        ("            known = unknown\n", ""),
        ("                asked.drop()\n", ""),
        (
            "self.drop()  # what it still says",
            "self._kept.keep(self._connection)  # what it still says",
            "",
            "redis-py itself closes a connection on which an answer went wrong",
        ),
        ("        self._kept.keep(self._connection)\n", ""),
        ("        if self._error is not None:\n", "        if False:\n"),
        ("        ensure_connected(script.client)\n", ""),
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
