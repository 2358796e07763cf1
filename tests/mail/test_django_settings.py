"""Django's settings are read as they are, and nobody is warned of our reading them."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Like Django 6.1, whatever the version: who reads an older mail setting is warned, set or not.
WARNING = """
import warnings
from django.conf import LazySettings, settings
warnings.simplefilter("error")
look_up = LazySettings.__getattr__

def warn(self, name):
    if name.startswith("EMAIL_"):
        warnings.warn(f"The {name} setting is deprecated", DeprecationWarning, stacklevel=2)
    return look_up(self, name)

LazySettings.__getattr__ = warn
"""
READ = """
from mailqueue.conf import settings as ours
ours.check()
print(ours.EMAIL_HOST, ours.EMAIL_PORT, ours.DEFAULT_FROM_EMAIL)
"""
CONFIGURED = 'settings.configure(DEFAULT_FROM_EMAIL="ann@example.com")\n'
# A project's module, which nobody has read yet when we read the first setting.
NAMED = """
import os, sys, types
module = types.ModuleType("project_settings")
module.SECRET_KEY, module.DEFAULT_FROM_EMAIL = "of a test", "ann@example.com"
sys.modules["project_settings"] = module
os.environ["DJANGO_SETTINGS_MODULE"] = "project_settings"
"""
OVERRIDE = """
from django.test import override_settings
with override_settings(DEFAULT_FROM_EMAIL="bob@example.com"):
    print(ours.DEFAULT_FROM_EMAIL)
print(ours.DEFAULT_FROM_EMAIL)
"""


@pytest.mark.parametrize("project", [CONFIGURED, NAMED], ids=["configured", "named"])
def test_reading_djangos_settings_warns_nobody(project: str) -> None:
    """Django 6.1 warns who reads a deprecated mail setting, which need not have been set."""
    done = subprocess.run(
        [sys.executable, "-c", WARNING + project + READ + OVERRIDE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    read, overridden, again = done.stdout.splitlines()
    assert read == "localhost 25 ann@example.com"
    assert (overridden, again) == ("bob@example.com", "ann@example.com")
