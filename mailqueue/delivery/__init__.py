"""Sending: claim, rebuild, send, decide, settle."""
