-- The journal's atomic operations: every change of a message's state is one call of this script.
--
-- The script is joined from the files of this folder, in the order that script.py gives. Each
-- operation is a block that returns. ARGV[1] names the operation, the rest are its arguments. An
-- operation's file says what it does, and then its signature: `[a, b]…` stands for any number of a
-- and b one after the other, `{a, b}` for a and b in a table of their own. What is yes or no is 1
-- or 0. Durations and times are milliseconds, times on the journal's clock (clock.lua).
--
-- Keys. <p> is KEYS[1], "mailqueue:{<queue>}": all keys of a queue share one hash tag, hence one
-- slot of a cluster. A message's field that is empty or absent has no value, or 0, or what is said
-- below: what is the same for most isn't written. (Earlier versions wrote all of them.)
--
--   <p>:message:<id>   hash   state      one of the states of the drawing in docs/design.md
--                             payload    JSON, emptied when the message is sent or cancelled
--                             digest     SHA-256 of the payload, so that a task can't smuggle in another
--                             blobs      names of the large attachments that the payload refers to
--                             summary    JSON for people: subject, from, to
--                             (payload, blobs' contents, summary, results, reply and log may be sealed)
--                             results    JSON, address -> {"state": …, "reply": …}, settled ones only; {} if absent
--                             attempts   how often it was claimed (and not given back)
--                             tries_from attempts that don't count for the schedule: before `retry`
--                             lost       how often its worker vanished while sending
--                             faults     errors that nobody can explain and that kept it from being sent
--                             counted    how many of these came while the same worker sent others
--                             faulted    when the newest of them came
--                             priority   of the task that names it: high, normal (if absent), low
--                             token      fencing token of the newest claim, until its lease ends: digits, of
--                                        which the last 15 are random (earlier versions had none of these)
--                             left_token the token of a claim whose lease has ended, until the next claim
--                             doubted    1 once it was uncertain: it may have been sent, whatever came later
--                             reply      the server's newest reply, or our reason; if absent, log's last
--                             held_from, held_due   state and due time to return to, while it is held
--                             created, due, expires
--                             since      when a person last asked for another try; created if absent
--                             updated    when it entered its state; created if absent
--                             log:<n>    "<time> <JSON>", what the n-th attempt came to: state, reply, worker,
--                                        replies: address -> reply, of those who didn't get it
--   <p>:blob:<sha256>  string one large attachment; expires unless a message refers to it
--   <p>:blobs          hash   sha256 -> how many messages refer to it
--   <p>:due            zset   id -> when somebody has to look at it next; all but final states. A commit
--                             changes the field only, and whoever looks too early looks again then
--   <p>:state:<state>  zset   id -> when it entered that state, in order; that of `sending` holds what is
--                             committing too, for which earlier versions had another
--   <p>:same:<sha256>  string SHA-256 of an idempotency key -> id of the message that it stands for, for a day
--   <p>:totals         hash   accepted, discarded, and how often each final state was reached, for ever
--   <p>:joined:<priority>   list   ids of messages for whichever task has room first; most are named by none, all urgent ones are here
--   <p>:alarms         hash   who reports it -> "<until> <reason>", of what keeps a worker from sending
--   <p>:beats          hash   worker -> JSON, what it said then: the queues that it takes tasks from,
--                             the mailers that it uses
--   <p>:claimed        string when a message was last claimed
--   <p>:task:<priority>  hash of the newest task: which message it names first, how many it has with those
--                             that joined, until when it is known to wait in the broker, a second at most
--   <p>:fence          counts the claims; a fencing token begins with it
--   <p>:workers        zset   worker -> when its timer last looked
--   <p>:clock          hash   offset    what is added to the server's clock, to even out its steps
--                             seen      until when a worker's timer has found that it went evenly
--                             ticked    when a timer last acted for all

local p = KEYS[1]
local operation = ARGV[1]

local priorities = { 'high', 'normal', 'low' } -- most urgent first

-- The answer of `advance`. It leaves false where `settle.lua` is to record the result.
local recorded
