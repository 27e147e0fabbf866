"""Options are checked in the constructor."""

from __future__ import annotations

import pytest

from cekat_async.sandbox import Dialect, Fault, Faults, Live, Quota, Sandbox

NAN = float("nan")


@pytest.mark.parametrize(
    "build, options, named",
    [
        (Quota, {"requests": 0}, "requests"),
        (Quota, {"requests": 1.5}, "requests"),
        (Quota, {"requests": True}, "requests"),
        (Quota, {"per": 0}, "per"),
        (Quota, {"per": -1.0}, "per"),
        (Quota, {"per": NAN}, "per"),
        (Quota, {"per": "60"}, "per"),
        (Quota, {"window": "rolling"}, "window"),
        (Quota, {"headers": "x"}, "headers"),
        (Quota, {"retry_after": "later"}, "retry_after"),
        (Quota, {"reset_as": "date"}, "reset_as"),
        (Quota, {"phase": -1.0}, "phase"),
        (Quota, {"per_day": 0}, "per_day"),
        (Quota, {"window": "bucket", "burst": 0}, "burst"),
        (Quota, {"burst": 5}, "burst"),
        (Dialect, {"end": "null"}, "end"),
        (Dialect, {"over_limit": "raise"}, "over_limit"),
        (Dialect, {"timestamps": "unix"}, "timestamps"),
        (Dialect, {"order": "random"}, "order"),
        (Dialect, {"max_limit": 0}, "max_limit"),
        (Dialect, {"compress": "br"}, "compress"),
        (Dialect, {"collections_null": 1.1}, "collections_null"),
        (Dialect, {"tie": 0}, "tie"),
        (Dialect, {"tie": 10_001}, "tie"),
        (Dialect, {"density": "sparse"}, "density"),
        (Dialect, {"made_up_cursors": "honor"}, "made_up_cursors"),
        (Dialect, {"endless": "full"}, "endless"),
        (Dialect, {"endless_times": "never"}, "endless_times"),
        (Live, {"messages": -0.1}, "messages"),
        (Live, {"created": NAN}, "created"),
        (Live, {"resolved": "1"}, "resolved"),
        (Live, {"seed": 0.5}, "seed"),
        (Faults, {"drop": 1.1}, "drop"),
        (Faults, {"drop_mid_body": -0.1}, "drop_mid_body"),
        (Faults, {"error": 0.6, "slow": 0.5}, "together"),
        (Faults, {"slow_by": -1.0}, "slow_by"),
        (Faults, {"retry_after": -1.0}, "retry_after"),
        (Faults, {"seed": "x"}, "seed"),
        (Fault.status, {"code": 99}, "code"),
        (Fault.status, {"code": 500, "body": "xml"}, "body"),
        (Fault.raw, {"status": 600}, "status"),
        (Fault.delay, {"seconds": -1.0}, "seconds"),
        (Fault.trickle, {"seconds": 0.0, "size": 0}, "size"),
        (Fault.truncate, {"keep": 1.5}, "keep"),
        (Fault.drop_mid_body, {"keep": -0.5}, "keep"),
        (Sandbox, {"conversations": -1}, "conversations"),
        (Sandbox, {"conversations": 1, "inboxes": 0}, "inboxes"),
        (Sandbox, {"seed": "1"}, "seed"),
        (Sandbox, {"latency": -0.1}, "latency"),
        (Sandbox, {"cache": -1}, "cache"),
        (Sandbox, {"port": 70_000}, "port"),
        (Sandbox, {"api_key": ""}, "api_key"),
        (Sandbox, {"api_key": "two words"}, "api_key"),
        (Sandbox, {"api_key": "line\r\n"}, "api_key"),
    ],
)
def test_invalid_options_are_refused_by_name(build, options, named):
    """The constructor raises a ``ValueError`` that names the option."""
    with pytest.raises(ValueError, match=named):
        build(**options)


@pytest.mark.parametrize("value", [Quota(), Dialect(), Live(), Faults(), Fault.ok()])
def test_options_are_values(value):
    """Option objects compare by content and cannot be changed."""
    assert value == type(value)(**{name: getattr(value, name) for name in value.__struct_fields__})
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], 1)


def test_chances_that_fill_the_whole_are_allowed():
    """Six chances that add up to one are allowed, despite rounding errors."""
    Faults(drop=0.1, drop_mid_body=0.1, error=0.2, truncate=0.1, too_many=0.2, slow=0.3)
    Faults(drop=0.7, error=0.1, slow=0.2)


def test_the_default_key_is_long_and_obviously_fake():
    """The default key is the same in every sandbox, and says that it is not a real key."""
    assert Sandbox(1).api_key == Sandbox(2).api_key
    assert len(Sandbox(1).api_key) > 40
    assert "not-a-real-key" in Sandbox(1).api_key
