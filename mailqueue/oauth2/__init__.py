"""Logging in by OAuth2: tokens for ``EMAIL_OAUTH2``, and the two issuers that most people have."""

from .issuers import google, microsoft

__all__ = ["google", "microsoft"]
