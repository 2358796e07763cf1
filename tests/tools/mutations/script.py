"""Mutations of the journal's script, file by file, in the order in which they are joined."""

from .row import of

JOURNAL, CLOCK, JOINING, LATE, OPERATOR, RECORD, SERVER, TIMER = (
    f"contracts/test_journal{name}.py"
    for name in ("", "_clock", "_joining", "_late", "_operator", "_record", "_server", "_timer")
)
EARLIER = "contracts/test_journal_earlier_version.py"
STATES = "contracts/test_script_states.py"

MUTATIONS = [
    *of(
        "queue/journal/lua/head.lua",
        SERVER,
        ("local p = KEYS[1]", "local p = KEYS[1] .. 's'", RECORD),
    ),
    *of(
        "queue/journal/lua/clock.lua",
        CLOCK,
        ("time[1] * 1000 + math", "time[1] + math", SERVER),
        ("math.max(server_time + offset, seen)", "server_time + offset"),
        ("(seen == 0 or now - seen <= UNSEEN) and now or seen", "now"),
        ("return left >= 0 and left <= WAITS", "return left <= WAITS", JOINING),
    ),
    *of(
        "queue/journal/lua/read_clock.lua",
        CLOCK,
        ("{ server_time, offset, seen }", "{ server_time, offset, 0 }"),
    ),
    *of(
        "queue/journal/lua/set_clock.lua",
        CLOCK,
        ("if offset ~= was then return 0 end", ""),
        ("if step <= 0 then return 1 end", "if true then return 1 end"),
        (
            "for _, row in ipairs(being_sent()) do take_back(row[1], 'sending') end",
            "",
        ),
        ("due == expires and get(id, 'expires') or due - step", "due - step"),
        ("set(id, 'expires', expires - step)", "set(id, 'expires', expires)"),
        ("{ 'created', 'since', 'updated', 'faulted' }", "{ 'created', 'since', 'updated' }"),
        ("if claimed > real then", "if false then"),
    ),
    *of(
        "queue/journal/lua/advance.lua",
        JOURNAL,
        ("and found[2] == token and (found[1]", "and (found[1]", f"{LATE} {RECORD} {JOURNAL}"),
        ("if found[2] == token and (found[1] == 'sending'", "if (found[1] == 'sending'"),
        ("(found[4] or '0') == '0' and not found[5] and", "(found[4] or '0') == '0' and"),
        ("if due < (tonumber(found[3]) or due) then", "if false then"),
        ("if count == 0 or unusual then redis", "if false then redis", SERVER),
    ),
    *of(
        "queue/journal/lua/accept.lua",
        JOINING,
        ("redis.call('HINCRBY', task, 'has', 1) <= room + 1 then", "true then"),
        ("redis.call('PEXPIRE', task, WAITS)", "redis.call('PERSIST', task)", TIMER),
        ("now - created > same_within and id or known", "false or known", JOURNAL),
        ("if math.abs(ahead) <= UNSEEN then", "if true then", CLOCK),
        (
            "if not named[priority] then named[priority] = not joins(id, priority) end",
            "named[priority] = not joins(id, priority)",
        ),
        (
            "if expires > 0 and expires < due then due = expires end",
            "",
            f"{TIMER} {LATE} {RECORD}",
        ),
        (
            "          redis.call('PERSIST', p .. ':blob:' .. blob)\n",
            "",
            "contracts/test_journal_attachments.py",
        ),
        ("          redis.call('HINCRBY', p .. ':blobs', blob, 1)\n", "", JOURNAL),
        ("'accepted', new) == new then", "'accepted', new) == 0 then", SERVER),
    ),
    *of(
        "queue/journal/lua/states.lua",
        f"{STATES}::test_the_script_knows_what_is_final_and_what_waits",
        ("or state == 'expired'", ""),
        ("or state == 'uncertain'", ""),
        ("or state == 'scheduled'", "or state == 'sheduled'", STATES),
    ),
    *of(
        "queue/journal/lua/record.lua",
        f"{TIMER} {LATE} {RECORD}",
        ("':blobs', name, -1) < 1 then", "':blobs', name, -1) < 2 then", JOURNAL),
        ("if expires and expires < due then due = expires end", ""),
        ("state == 'queued' and get(id, 'state') == state", "false", OPERATOR),
        (
            "  if is_final(state) then redis.call('HINCRBY', p .. ':totals', state, 1) end\n",
            "",
            f"{OPERATOR} {LATE} {RECORD}",
        ),
        ("  if state == 'uncertain' then set(id, 'doubted', 1) end\n", ""),
        (
            "if state == 'sent' or state == 'cancelled' then drop_payload(id) end",
            "if state == 'sent' then drop_payload(id) end",
            f"{OPERATOR} {LATE} {RECORD}",
        ),
    ),
    *of(
        "queue/journal/lua/settle.lua",
        f"{TIMER} {LATE} {RECORD}",
        ("(state == 'held' and is_final(result))", "state == 'held'"),
        ("get(id, 'left_token') == token and number(id, 'lost') > 0", "number(id, 'lost') > 0"),
    ),
    *of(
        "queue/journal/lua/lease.lua",
        f"{TIMER} {LATE} {RECORD}",
        ("  if get(id, 'doubted') then\n", "  if false then\n"),
        ("if number(id, 'lost') >= max_lost then", "if number(id, 'lost') > max_lost then"),
        ("  elseif committed then\n", "  elseif false then\n"),
        ("  if committed then set(id, 'doubted', 1) end\n", ""),
        ("  set(id, 'token', '')\n  if committed", "  if committed"),
    ),
    *of(
        "queue/journal/lua/claims.lua",
        f"{LATE} {RECORD}",
        ("if get(id, 'left_token') then set(id, 'left_token', '') end", ""),
        (
            "queued[#queued + 1] = id else leave(id, were[i]) end",
            "queued[#queued + 1] = id end",
            f"{RECORD}::test_what_was_retrying_is_counted_once_it_is_claimed",
        ),
        ("  redis.call('SET', p .. ':claimed', now)\n", "", OPERATOR),
    ),
    *of(
        "queue/journal/lua/claim.lua",
        f"{TIMER} {LATE} {RECORD}",
        ("if suspect and #claims > 0 then break end", ""),
        ("      if suspect then break end\n", ""),
    ),
    *of(
        "queue/journal/lua/take.lua",
        JOINING,
        ("looked_at < 1000", "looked_at < 10000"),
        (
            "if begins ~= '' and redis.call('HGET', task, 'names') == begins then",
            "if begins ~= '' then",
        ),
        ("for level = 1, levels do", "for level = 1, 3 do"),
        ("and number(id, 'lost') == 0 and", "and", LATE),
    ),
    *of(
        "queue/journal/lua/renew.lua",
        LATE,
        ("redis.call('ZADD', p .. ':due', now + lease, id)", "", f"{LATE} {TIMER}"),
        ("get(id, 'state') == 'sending' and", ""),
        ("redis.call('PERSIST', p .. ':totals') --", "--", SERVER),
    ),
    *of(
        "queue/journal/lua/fault.lua",
        "contracts/test_whose_fault.py",
        (
            "idle >= 0 and now - idle >= since",
            "true",
            "contracts/test_whose_fault.py::test_an_error_of_all_messages_is_no_messages_fault",
        ),
    ),
    *of(
        "queue/journal/lua/lose.lua",
        "contracts/test_whose_fault.py",
        (
            "  recover(id, max_lost, doubt, reason)\n",
            "",
            "contracts/test_whose_fault.py::test_a_process_that_ends_in_the_middle_counts_however_it_ends",
        ),
    ),
    *of(
        "queue/journal/lua/alarm.lua",
        "contracts/test_whose_fault.py",
        (
            "if kept == 0 then",
            "if false then",
            "contracts/test_whose_fault.py::test_what_the_machine_lacks_costs_no_message_an_attempt",
        ),
    ),
    *of(
        "queue/journal/lua/alarms.lua",
        "contracts/test_whose_fault.py",
        (
            "if tonumber(till) > now then",
            "if true then",
            "contracts/test_whose_fault.py::test_an_alarm_ends_by_itself",
        ),
    ),
    *of(
        "queue/journal/lua/give_back.lua",
        JOURNAL,
        ("number(id, 'attempts') - 1)", "number(id, 'attempts'))"),
        ("delay > 0 and 'retrying' or 'queued'", "'queued'", LATE),
    ),
    *of(
        "queue/journal/lua/put_back.lua",
        TIMER,
        ("enter(id, 'queued', now)", ""),
    ),
    *of(
        "queue/journal/lua/release.lua",
        TIMER,
        ("redis.call('ZREM', p .. ':due', id)", ""),
        ("since <= tick then", "since < 0 then"),
        ("since >= 0 and", "", CLOCK),
        ("'-inf', sure, 'LIMIT'", "'-inf', now, 'LIMIT'", CLOCK),
        ("get(id, 'priority') or 'normal'", "'normal'"),
    ),
    *of(
        "queue/journal/lua/being_sent.lua",
        EARLIER,
        ("{ 'sending', 'committing' }", "{ 'sending' }"),
        ("      seen[id] = true\n", ""),
    ),
    *of(
        "queue/journal/lua/in_hand.lua",
        JOURNAL,
        ("return being_sent()", "return {}"),
    ),
    *of(
        "queue/journal/lua/counts.lua",
        f"{RECORD} {OPERATOR}",
        ("counts[state] or redis", "redis"),
    ),
    *of(
        "queue/journal/lua/beat.lua",
        OPERATOR,
        ("now - 86400000", "now - 86400000000"),
        ("    redis.call('HDEL', p .. ':beats', name)\n", ""),
    ),
    *of(
        "queue/journal/lua/pulse.lua",
        OPERATOR,
        ("now - alive_within, now + alive_within,", "now - alive_within, '+inf',"),
        ("math.max(age(queued[2]), age(due[2]))", "age(queued[2])"),
        ("'sent', 'partial', 'failed', 'retrying' })", "'partial', 'failed', 'retrying' })"),
    ),
    *of(
        "queue/journal/lua/trim.lua",
        OPERATOR,
        ("'LIMIT', 0, limit", "'LIMIT', 0, -1"),
        ("sure - older_than", "sure"),
        ("sure - older_than", "now - older_than", CLOCK),
        ("  if not is_final(state) then return 0 end\n", ""),
    ),
    *of(
        "queue/journal/lua/retry.lua",
        f"{LATE} {OPERATOR}",
        ("and has_payload and results == seen then", "and has_payload then", LATE),
        ("and has_payload and", "and", OPERATOR),
        ("retrying = true, expired", "expired", OPERATOR),
    ),
    *of(
        "queue/journal/lua/change.lua",
        OPERATOR,
        ("changed and 1 or 0", "1"),
    ),
    *of(
        "queue/journal/lua/hold.lua",
        OPERATOR,
        ("    set(id, 'held_due', get(id, 'due') or '')\n", ""),
    ),
    *of(
        "queue/journal/lua/resume.lua",
        OPERATOR,
        ("from == 'uncertain' or (", "("),
        ("and due > sure)", ")"),
    ),
    *of(
        "queue/journal/lua/cancel.lua",
        f"{OPERATOR} {STATES}",
        ("is_waiting(state) or state == 'held'", "is_waiting(state)"),
        ("enter(id, 'cancelled')", "enter(id, 'expired')"),
    ),
    *of(
        "queue/journal/lua/discard.lua",
        f"{OPERATOR} {STATES}",
        ("    drop_payload(id)\n", ""),
        ("held = true, uncertain", "uncertain", STATES),
        ("    redis.call('ZREM', p .. ':due', id)\n", ""),
    ),
    *of(
        "queue/journal/lua/unknown.lua",
        f"{STATES}::test_an_unknown_operation_is_refused",
        ("return redis.error_reply", "return tostring"),
    ),
]
