"""Settings: what is set, where it is found, how it is written, where the servers are."""

from .keys import configure, settings
from .lookup import home

__all__ = ["configure", "home", "settings"]
