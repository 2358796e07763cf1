"""Where messages go: one module for each kind of backend, each with its ``EmailBackend``."""
