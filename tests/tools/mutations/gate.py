"""Mutations of what keeps a mailer from being used: the breaker."""

from .row import of

MUTATIONS = [
    *of(
        "delivery/gate/breaker",
        "contracts/test_breaker.py contracts/test_breaker_shared.py",
        (
            "if isinstance(trouble, Misconfigured):\n            return",
            "if False:\n            return",
        ),
        (
            "self._trying = not view.closed and not view.wait",
            "self._trying = False",
            "contracts/test_breaker.py::test_success_closes_it_for_all",
        ),
        (
            "return self._local.ask()",
            'return View(0, True, "")',
            "contracts/test_breaker_shared.py::test_without_the_journal_a_worker_that_failed_asks_in_vain",
        ),
        (
            "self._failures, self._not_before = 0, 0.0\n\n    def",
            "self._not_before = 0.0\n\n    def",
            "contracts/test_breaker.py::test_without_the_journal_a_worker_has_its_own",
        ),
        (
            "self._trying or not (view.closed or view.wait)",
            "self._trying",
            "contracts/test_breaker.py::test_a_connection_that_works_closes_the_breaker_too",
        ),
        (
            "min(first * 2 ** min(self._failures, 30) * _jitter(self._chance), longest)",
            "first",
            "contracts/test_breaker.py::test_the_local_one_doubles_its_pause_too",
        ),
        (
            "min(int(wait) / 1000, _ASK_AGAIN)",
            "int(wait) / 1000",
            "contracts/test_breaker.py::test_a_connection_in_a_pause_is_not_opened",
        ),
        (
            "self._sealer.seal(trouble.reply)",
            "trouble.reply",
            "contracts/test_breaker_shared.py::test_what_a_server_said_is_sealed",
        ),
    ),
    *of(
        "delivery/gate/breaker",
        "contracts/test_breaker_refusals.py",
        ("if now < self._accepts_until:", "if False:"),
        ("{id_: now} | kept", "kept | {id_: now}"),
        ("        self._refused.clear()\n", ""),
        ("self._trying, self._next_note = False, 0.0", "self._trying = False"),
        ("            self._next_note = 0.0  # nobody knows", "            pass  # nobody knows"),
        ("now >= self._no_chunks_until", "True"),
    ),
    *of(
        "delivery/gate/breaker.lua",
        "contracts/test_breaker_refusals.py",
        ("if redis.call('EXISTS', ACCEPTED) == 1 then return 2 end", ""),
        ("  if is_new then redis.call('DEL', ACCEPTED) end\n", ""),
        ("'NX', now, id)", "now, id)"),
        ("  redis.call('DEL', REFUSED)\n", ""),
        ("  redis.call('ZREMRANGEBYSCORE', REFUSED, '-inf', now - tonumber(kept))\n", ""),
        ("1 - redis.call('EXISTS', NO_CHUNKS)", "1"),
    ),
    *of(
        "delivery/gate/breaker.lua",
        "contracts/test_breaker.py contracts/test_breaker_shared.py",
        (
            "math.max(number('not_before'), number('probe')) - now",
            "number('not_before') - now",
            "contracts/test_breaker.py::test_of_many_that_ask_exactly_one_may_try",
        ),
        (
            "if answer[1] == 0 and answer[2] > 0 then",
            "if answer[1] == 0 then",
            "contracts/test_breaker_shared.py::test_a_closed_breaker_keeps_nobody_away",
        ),
        (
            "if is_new or number('not_before') <= now then",
            "if true then",
            "contracts/test_breaker.py::test_failures_of_workers_that_had_begun_before_are_one",
        ),
        ("if is_new or number('not_before') <= now then", "if number('not_before') <= now then"),
        (
            "  local step = number('seen') - now\n",
            "  local step = 0\n",
            "contracts/test_breaker.py",
        ),
        (
            "2 ^ math.min(failures - 1, 30)",
            "2 ^ math.min(failures, 30)",
            "contracts/test_breaker.py::test_each_failure_doubles_the_pause_up_to_a_limit",
        ),
        (
            "math.min(wanted, tonumber(longest))",
            "wanted",
            "contracts/test_breaker.py::test_each_failure_doubles_the_pause_up_to_a_limit",
        ),
        ("    redis.call('HDEL', key, 'probe')\n    redis", "    redis"),
        ("    redis.call('PEXPIRE', key, KEPT)\n", ""),
        (
            "  if number('alarm') == 0 then return 0 end\n",
            "",
            "contracts/test_breaker.py::test_a_start_may_try_at_once_what_was_our_mistake",
        ),
        (
            "now + tonumber(patience)",
            "now + 3600000",
            "contracts/test_breaker.py::test_a_worker_that_dies_while_it_tries_does_not_end_all_tries",
        ),
        (
            "redis.call('HSETNX', key, 'since', now)",
            "redis.call('HSET', key, 'since', now)",
            "contracts/test_breaker_shared.py::test_trouble_began_with_its_first_failure",
        ),
    ),
]
