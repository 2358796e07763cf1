"""The command line: `mailqueue …`, also `python -m mailqueue`."""

from . import acting, looking, running
from .group import main

__all__ = ["acting", "looking", "main", "running"]
