"""Whether a mailer may be used now."""
