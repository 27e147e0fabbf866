"""Export the conversations of a Cekat account every night, with Airflow 3."""

import asyncio
from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, Connection, Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException

# A DAG with `schedule=[CONVERSATIONS]` runs after each complete export.
CONVERSATIONS = Asset("cekat_conversations")


async def export_to(target: str, api_key: str) -> dict[str, int]:
    """Export what has changed since the last run, and return the counts."""
    from cekat_async import CekatClient, errors  # noqa: PLC0415 - Airflow parses this file often
    from cekat_async.export import export_conversations  # noqa: PLC0415

    # These failures need a person. Everything else is retried, and the retry resumes.
    final = (
        errors.AuthenticationError,
        errors.CheckpointError,
        errors.ConfigurationError,
        errors.PermissionDeniedError,
        errors.ReplacementRefusedError,
    )
    try:
        async with CekatClient(api_key) as cekat:
            report = await export_conversations(cekat, target, incremental=True)
    except final as error:
        raise AirflowFailException(str(error)) from error
    return {"fetched": report.conversations, "in_target": report.manifest.conversations}


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=15)},
)
def cekat_export() -> None:
    """Keep a Parquet file with every conversation of the account."""

    @task(outlets=[CONVERSATIONS])
    def export() -> dict[str, int]:
        """Export to the file that the variable ``cekat_export_target`` names."""
        target = Variable.get("cekat_export_target")
        api_key = Connection.get("cekat").password
        return asyncio.run(export_to(target, api_key))

    export()


cekat_export()
