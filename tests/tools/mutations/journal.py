"""Mutations of the journal: its script, and what calls it."""

from .row import of

# Of late results, and of what is on record.
_LATE = "contracts/test_journal_late.py contracts/test_journal_record.py"

MUTATIONS = [
    *of(
        "queue/journal/journal.lua",
        f"{_LATE} contracts/test_journal.py contracts/test_journal_timer.py",
        (
            "and found[2] == ARGV[i + 1] and (found[1] == 'committing'",
            "and (found[1] == 'committing'",
        ),
        (
            "if found[2] == ARGV[i + 1] and (found[1] == 'sending'",
            "if (found[1] == 'sending'",
            "contracts/test_journal.py",
        ),
        (
            "(found[4] or '0') == '0' and not found[5] and",
            "(found[4] or '0') == '0' and",
            "contracts/test_journal.py",
        ),
        (
            "if due < (tonumber(found[3]) or due) then",
            "if false then",
            "contracts/test_journal.py",
        ),
        (
            "if has > 1 and has <= room + 1 then",
            "if has > 1 then",
            "contracts/test_journal_joining.py",
        ),
        (
            "redis.call('PEXPIRE', task, 1000)",
            "redis.call('PERSIST', task)",
            "contracts/test_journal_joining.py",
        ),
        (
            "if not named[priority] then named[priority] = not joins(id, priority) end",
            "named[priority] = not joins(id, priority)",
            "contracts/test_journal_joining.py",
        ),
        (
            "if expires > 0 and expires < due then due = expires end",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        ("          redis.call('PERSIST', p .. ':blob:' .. blob)\n", ""),
        (
            "          redis.call('HINCRBY', p .. ':blobs', blob, 1)\n",
            "",
            "contracts/test_journal.py",
        ),
        (
            "':blobs', name, -1) < 1 then",
            "':blobs', name, -1) < 2 then",
            "contracts/test_journal.py",
        ),
        (
            "if same then redis.call('SET', same, id, 'PX', window) end",
            "if same then redis.call('SET', same, id) end",
            "contracts/test_journal.py",
        ),
        (
            "if expires and expires < due then due = expires end",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "  if is_final(state) then redis.call('HINCRBY', p .. ':totals', state, 1) end\n",
            "",
            f"contracts/test_journal_operator.py {_LATE}",
        ),
        (
            "  if state == 'uncertain' then set(id, 'doubted', 1) end\n",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "if state == 'sent' or state == 'cancelled' then drop_payload(id) end",
            "if state == 'sent' then drop_payload(id) end",
            f"contracts/test_journal_operator.py {_LATE}",
        ),
        (
            "(state == 'held' and is_final(result))",
            "state == 'held'",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        ("get(id, 'left_token') == token and number(id, 'lost') > 0", "number(id, 'lost') > 0"),
        (
            "  if get(id, 'doubted') then\n",
            "  if false then\n",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "if number(id, 'lost') >= max_lost then",
            "if number(id, 'lost') > max_lost then",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "  elseif committed then\n",
            "  elseif false then\n",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "  if committed then set(id, 'doubted', 1) end\n",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "  set(id, 'token', '')\n  if committed",
            "  if committed",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "if suspect and #claims > 0 then break end",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "      if suspect then break end\n",
            "",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
    ),
    *of(
        "queue/journal/journal",
        f"{_LATE} contracts/test_delivery_record.py contracts/test_journal.py",
        (
            "tuple(entry.id for entry in entries[start:])",
            "tuple(entry.id for entry in entries)",
            "contracts/test_journal_portions.py",
        ),
        (
            "if r.state is State.SENT}",
            "}",
            f"contracts/test_journal_operator.py {_LATE}",
        ),
        (
            "max(1, int(time.timestamp() * 1000))",
            "int(time.timestamp() * 1000)",
            "integration/test_options.py::test_what_expired_before_1970_is_expired",
        ),
        (
            "[self.policy.max_lost, -1 if doubt is None else ms(doubt)]",
            "[self.policy.max_lost, 0 if doubt is None else ms(doubt)]",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "ex=_LOOSE_SECONDS",
            "ex=1",
            "",
            "what vanished before the message was accepted is stored once more",
        ),
        (
            "        self.check(fsync=fsync)\n",
            "",
            "contracts/test_journal_eviction.py",
        ),
    ),
    *of(
        "store/client",
        "contracts/test_script.py faults/test_outage.py",
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
        ("    except redis.TimeoutError:\n        raise\n", ""),
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
        ("if isinstance(error, redis.TimeoutError):", "if False:"),
        ("connection if self._is_tried else", "connection if True else"),
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
        "unit/test_store.py",
        ("settings.MAILQUEUE.ENQUEUE_TIMEOUT", "60.0"),
        ("current_sealer())", "Sealer())"),
    ),
    *of(
        "queue/journal/opening",
        "faults/test_worker.py integration/test_options.py",
        (
            "[open_journal(queue) for queue in (own, *sorted(known - {own}))]",
            "[open_journal(own)]",
            "integration/test_options.py::test_a_message_may_name_its_queue",
        ),
    ),
    *of(
        "queue/journal/reader",
        "contracts/test_journal.py",
        (
            'if policy.startswith("allkeys"):',
            'if policy == "allkeys-lru":',
            "contracts/test_journal_eviction.py",
        ),
    ),
    *of(
        "state",
        "unit/test_states.py",
        (
            "State.CANCELLED, State.EXPIRED}",
            "State.CANCELLED}",
            "unit/test_states.py::test_these_states_are_final",
        ),
    ),
    *of(
        "queue/journal/rows",
        "contracts/test_journal.py integration/test_sealing.py integration/test_delivery.py",
        (
            "_UNREADABLE = (KeyMissing, PayloadError,",
            "_UNREADABLE = (PayloadError,",
            "integration/test_sealing.py::test_nothing_readable_lies_in_broker_and_journal",
        ),
    ),
]
