"""The hook that passes the events of a client to OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cekat_async import (
    CallBegun,
    CallFailed,
    MissingExtraError,
    PageFetched,
    PauseBegun,
    ReplyReceived,
    RequestFailed,
    RequestSent,
    RetryScheduled,
    WalkBegun,
    WalkEnded,
    __version__,
)
from cekat_async.telemetry.export_events import (
    CatchUpBegun,
    ExportBegun,
    ExportEnded,
    ExportStepBegun,
    ExportStepEnded,
    PartitionEnded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from cekat_async import CekatClient, HookEvent
    from cekat_async.telemetry.client_recorder import ClientRecorder
    from cekat_async.telemetry.export_recorder import ExportRecorder

    _Reactions = dict[type[HookEvent], Callable[[Any], None]]

__all__ = ["OpenTelemetry"]

_SCHEMA = "https://opentelemetry.io/schemas/1.36.0"


class OpenTelemetry:
    """A hook that reports the work of a client as OpenTelemetry spans and metrics.

    Several clients may share one hook. A client has spans named ``listing`` and ``page``, and a
    span for each attempt. An export has spans named ``export``, ``collect`` and ``publish``. The
    outermost of these spans becomes a child of the current span. Spans and metrics contain no key,
    cursor, query, body or message. The hook does nothing as long as neither provider records
    anything, for example if OpenTelemetry's SDK is not installed.

    Args:
        tracer_provider: The provider that receives the spans. Default: the global provider.
        meter_provider: The provider that receives the metrics. Default: the global provider.

    Raises:
        MissingExtraError: The ``otel`` extra is not installed.

    Examples:
        >>> telemetry = OpenTelemetry()
        >>> async with CekatClient(hooks=telemetry) as client:
        ...     telemetry.observe(client)
        ...     page = await client.conversations.page()
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "telemetry needs opentelemetry-api: pip install 'cekat-async[otel]'"
            ) from error
        # These modules also import the library, so import them only here.
        from cekat_async.telemetry.client_recorder import ClientRecorder  # noqa: PLC0415
        from cekat_async.telemetry.export_recorder import ExportRecorder  # noqa: PLC0415
        from cekat_async.telemetry.metrics import Measurements  # noqa: PLC0415
        from cekat_async.telemetry.quota import QuotaGauges  # noqa: PLC0415

        def is_recording() -> bool:
            # Check this again for each event, because the global providers may be set at any time.
            return _can_record(tracer_provider or trace.get_tracer_provider()) or _can_record(
                meter_provider or metrics.get_meter_provider()
            )

        tracer = trace.get_tracer("cekat_async", __version__, tracer_provider, _SCHEMA)
        meter = metrics.get_meter("cekat_async", __version__, meter_provider, _SCHEMA)
        measurements, self._quota = Measurements(meter), QuotaGauges(meter)
        self._exports = ExportRecorder(tracer, measurements, is_recording)
        self._client = ClientRecorder(
            tracer, measurements, self._quota, self._exports.get_parent, is_recording
        )
        self._reactions = _list_reactions(self._client, self._exports)

    @property
    def open_spans(self) -> int:
        """The number of open spans of exports, listings and pages."""
        return self._client.open_spans + self._exports.open_spans

    def observe(self, client: CekatClient) -> None:
        """Also report the quota of a client, and how much of it the client uses.

        Call this method in the thread that uses the client.

        Args:
            client: The client.

        Examples:
            >>> telemetry = OpenTelemetry()
            >>> async with CekatClient(hooks=telemetry) as client:
            ...     telemetry.observe(client)
        """
        self._quota.observe(client)

    def __call__(self, event: HookEvent) -> None:
        """Receive an event."""
        if (react := self._reactions.get(type(event))) is not None:
            react(event)

    def __repr__(self) -> str:
        return f"<OpenTelemetry hook: {self.open_spans} open spans>"


def _list_reactions(client: ClientRecorder, exports: ExportRecorder) -> _Reactions:
    """Return, for each kind of event, the method that receives it."""
    return {
        WalkBegun: client.begin_walk,
        WalkEnded: client.end_walk,
        CallBegun: client.begin_call,
        RequestSent: client.begin_attempt,
        ReplyReceived: client.end_attempt,
        RequestFailed: client.fail_attempt,
        RetryScheduled: client.add_retry,
        PauseBegun: client.add_pause,
        PageFetched: client.end_call,
        CallFailed: client.fail_call,
        ExportBegun: exports.begin,
        ExportEnded: exports.end,
        ExportStepBegun: exports.begin_step,
        ExportStepEnded: exports.end_step,
        PartitionEnded: exports.end_partition,
        CatchUpBegun: exports.add_catch_up,
    }


def _can_record(provider: object) -> bool:
    """Return whether a provider may record something. The API package's own providers never do."""
    return not type(provider).__module__.startswith(
        ("opentelemetry.trace", "opentelemetry.metrics")
    )
