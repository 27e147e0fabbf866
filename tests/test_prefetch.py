"""Prefetch: the next page is requested while the caller works on this one."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import run_virtual
from support.effort import EFFORT
from support.parts import collect, make_pipeline, page_body
from support.scripted import reply

from cekat_async import Limiter, RateLimit, RetryPolicy
from cekat_async._api.messages import Reply, Request
from cekat_async.resources.conversations import Conversations


def get_body(number: int, pages: int) -> bytes:
    return page_body([f"{number}a", f"{number}b"], str(number + 1) if number + 1 < pages else None)


def test_the_limiter_hears_of_a_reply_before_the_next_request():
    """What a reply says about the quota holds for the prefetched request."""
    headers = {"X_RateLimit_Limit": "300", "X_RateLimit_Reset": "30"}
    replies = [
        reply(body=get_body(0, 2), X_RateLimit_Remaining="0", **headers),
        reply(body=get_body(1, 2), X_RateLimit_Remaining="299", **headers),
    ]
    pipeline, transport = make_pipeline(replies, limiter=Limiter(RateLimit(300)))

    # It might be a lie, and is put to the test after a second; but not at once.
    run_virtual(collect(Conversations(pipeline, None).list()))

    first, second = transport.times
    assert second - first >= 1


@given(
    pages=st.integers(1, 8),
    broken=st.sets(st.integers(0, 7)),
    refused=st.sets(st.integers(0, 7)),
    prefetch=st.integers(0, 3),
    latency=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=40 * EFFORT)
def test_nothing_is_lost_or_doubled(pages, broken, refused, prefetch, latency):
    """Whichever pages are broken or refused the first time, all arrive, once, in order."""
    asked: list[int] = []

    def answer(request: Request) -> Reply:
        number = int(request.query.partition("cursor_id=")[2].partition("&")[0] or 0)
        asked.append(number)
        body = get_body(number, pages)
        if asked.count(number) > 1 or number not in broken | refused:
            return reply(body=body)
        return reply(500) if number in refused else reply(body=body.replace(b'"id"', b'"id', 1))

    retry = RetryPolicy(attempts=3, backoff=0.001)
    pipeline, _ = make_pipeline([answer] * 100, latency=latency, retry=retry)
    found = run_virtual(Conversations(pipeline, None).list(prefetch=prefetch).collect())

    assert [item.id for item in found] == [f"{n}{letter}" for n in range(pages) for letter in "ab"]
