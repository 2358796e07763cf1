"""How much a cache holds where a value is made twice."""

from mailqueue.mail.rendering.cache import SizedCache


def test_a_value_that_two_make_at_once_is_counted_once():
    """What another thread has made and kept meanwhile is replaced, and its size goes."""
    cache: SizedCache[str, str] = SizedCache(100)

    def made_by_another() -> str:
        return cache.get("a", lambda: "x" * 10, len)

    cache.get("a", made_by_another, len)
    assert cache.size == 10
