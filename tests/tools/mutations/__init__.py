"""The table of mutations: small changes of the code, each of which a test has to find.

A file has the rows of a room of ``mailqueue/``, module by module in the order of the alphabet;
inner rooms, such as ``queue/journal``, have files of their own.
"""

from . import (
    backends,
    cli,
    conf,
    contrib,
    delivery,
    gate,
    journal,
    local,
    mail,
    monitor,
    oauth2,
    queue,
    script,
    smtp,
    store,
    testing,
    top,
    worker,
)

# From the bottom up.
_BELOW = (top, conf, mail, oauth2, store, queue, journal, script)
_ABOVE = (backends, delivery, smtp, gate, local, worker, monitor, cli, testing, contrib)

MUTATIONS = [row for room in (*_BELOW, *_ABOVE) for row in room.MUTATIONS]
