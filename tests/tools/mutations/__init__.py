"""The table of mutations: small changes of the code, each of which a test has to find."""

from . import backends, composing, journal, queue, script, sending, settings, watching, wire

MUTATIONS = [
    row
    for module in (composing, backends, settings, queue, journal, script, sending, wire, watching)
    for row in module.MUTATIONS
]
