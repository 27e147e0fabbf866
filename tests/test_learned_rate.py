"""The rate that a client has learned from its own replies, for other processes."""

from cekat_async._ratelimit.server.learned_rate import Evidence, LearnedRate


def test_nothing_is_known_before_a_reply_shows_it():
    """If no reply has shown a rate, none is known, neither at the start nor later."""
    assert Evidence().get(0.0) is None
    assert Evidence().get(1e9) is None


def test_the_last_rate_is_returned_with_its_age():
    """The most recently learned rate is returned, with its age."""
    evidence = Evidence()
    evidence.record(300, 60.0, 10.0)
    assert evidence.get(10.0) == LearnedRate(300, 60.0, age=0.0)

    evidence.record(10, 1.0, 20.0)

    assert evidence.get(25.5) == LearnedRate(10, 1.0, age=5.5)
    assert evidence.get(30.0) == LearnedRate(10, 1.0, age=10.0)
