"""Django's reports of errors: they show settings, but not those that hold a password."""

from __future__ import annotations

import re

from django.conf import settings
from django.utils.module_loading import import_string

# Settings, keys of settings, and variables of the environment, by a part of their names.
_URLS = r"BROKER\w*_URL|JOURNAL_URL"


def hide_urls() -> None:
    """Have the project's filter of reports hide the URLs of broker and journal, as it does keys.

    That is Django's own, unless ``DEFAULT_EXCEPTION_REPORTER_FILTER`` names another; which names it
    hides is said by its ``hidden_settings``, which is documented to be changed.
    """
    chosen = import_string(settings.DEFAULT_EXCEPTION_REPORTER_FILTER)
    hidden = getattr(chosen, "hidden_settings", None)
    if hidden is not None and _URLS not in hidden.pattern:
        chosen.hidden_settings = re.compile(f"{hidden.pattern}|{_URLS}", hidden.flags)
