"""Celery tasks that read conversations.

Run a worker with the key in CEKAT_API_KEY, and the URL of a broker in CELERY_BROKER_URL:

    pip install 'cekat-async[file]' 'celery[redis]'
    celery --app celery_tasks worker --concurrency 4
"""

from typing import Any

from cekat_loop import CekatLoop
from celery import Celery

from cekat_async import CekatClient, RateLimitError
from cekat_async.export import export_conversations

app = Celery("celery_tasks")
loop = CekatLoop()


@app.task(bind=True, max_retries=3)
def count_pending(self: Any, inbox_id: str | None = None) -> int:
    """Return the number of pending conversations, of the account or of one inbox."""

    async def count(cekat: CekatClient) -> int:
        pages = cekat.conversations.list(inbox_id=inbox_id, stage_status="pending").pages()
        return sum([len(page) async for page in pages])

    try:
        return loop.run(count)
    except RateLimitError as error:
        if error.resumes_at is None:
            raise
        # The daily quota is used up. Run the task again when the quota is available.
        raise self.retry(exc=error, eta=error.resumes_at) from error


@app.task
def export(target: str) -> int:
    """Export the changes to a file, and return the number of conversations in the file."""

    async def run(cekat: CekatClient) -> int:
        report = await export_conversations(cekat, target, incremental=True)
        return report.manifest.conversations

    return loop.run(run)
