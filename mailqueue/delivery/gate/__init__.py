"""Whether a mailer may be used now: what all workers share about it, in the store.

``Connection`` asks the breaker before it opens one, and so do tasks before they claim and the timer
before it releases messages. An open connection goes on without asking. Another gate, such as a
limit, gets a module and a script of its own here, and is asked in the same places.
"""
