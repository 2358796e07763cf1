"""Redis or Valkey: connect, call a script, seal what is stored, translate errors."""

from .ending import import_threads

import_threads()  # before any module of this package imports redis-py
