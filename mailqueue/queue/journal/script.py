"""The journal's script, joined from ``lua/``: a file for each operation, and what they share."""

from __future__ import annotations

from importlib.resources import files

# In the order in which the server reads them: a file uses what those before it define. To define
# all of it takes longer than to carry out one operation, so the most frequent ones come first.
FILES = (
    *("head", "clock", "advance", "accept"),
    *("states", "record", "settle"),
    *("lease", "claims", "claim", "take", "renew", "give_back", "put_back", "release"),
    *("fault", "lose", "alarm", "alarms"),
    *("being_sent", "in_hand", "counts", "beat", "read_clock", "set_clock"),
    *("pulse", "trim", "retry"),
    *("change", "hold", "resume", "cancel", "discard"),
    "unknown",
)


def read(name: str) -> str:
    """The text of one of the files."""
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


SCRIPT = "\n".join(map(read, FILES))
