"""The queue: what is accepted, kept, and handed to workers."""
