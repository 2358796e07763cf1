"""Everything on one laptop: embedded server, worker, catch-all inbox."""
