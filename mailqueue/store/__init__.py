"""Redis or Valkey: connect, call a script, seal what is stored, translate errors."""
