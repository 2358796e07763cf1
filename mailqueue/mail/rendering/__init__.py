"""A message as bytes."""
