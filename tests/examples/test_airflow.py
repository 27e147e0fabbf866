"""The DAG: Airflow imports it, and runs it against the sandbox.

Airflow is large, so it may be in an environment of its own. AIRFLOW_PYTHON is its interpreter.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cekat_async.sandbox import Fault

FOLDER = Path(__file__).parents[2] / "examples" / "airflow"
PYTHON = os.environ.get("AIRFLOW_PYTHON") or (sys.executable if find_spec("airflow") else None)

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(PYTHON is None, reason="AIRFLOW_PYTHON names no environment with Airflow"),
]

# This code prints a line of JSON after the log of Airflow.
RUN_DAG = """
import json, os
from airflow.dag_processing.dagbag import DagBag

found = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
run = found.dags["cekat_export"].test()
states = {task.task_id: task.state for task in run.get_task_instances()}
print(json.dumps([found.import_errors, list(found.dags), run.state, states]))
"""


@pytest.fixture
def run_dag(account, tmp_path):
    """A function that runs the DAG once, and returns Airflow's report of the run and its log."""
    dags = shutil.copytree(FOLDER, tmp_path / "dags", ignore=shutil.ignore_patterns("_*"))
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_CEKAT": json.dumps({"conn_type": "generic", "password": account.api_key}),
        "AIRFLOW_VAR_CEKAT_EXPORT_TARGET": str(tmp_path / "conversations.parquet"),
        "CEKAT_BASE_URL": account.base_url,
    }

    def run(*arguments):
        return subprocess.run(  # noqa: S603 - our own example
            [PYTHON, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=300,
            check=True,
        ).stdout

    run("-m", "airflow", "db", "migrate")

    def run_dag():
        log = run("-c", RUN_DAG)
        return json.loads(log.splitlines()[-1]), log

    return run_dag


def test_a_run_exports_the_account(run_dag, account, tmp_path):
    """Airflow imports the DAG without an error. Each run brings the file up to date."""
    pq = pytest.importorskip("pyarrow.parquet")
    ended, log = run_dag()
    account.create()
    again, _ = run_dag()
    table = pq.read_table(tmp_path / "conversations.parquet", columns=["id"])

    assert ended == again == [{}, ["cekat_export"], "success", {"export": "success"}]
    assert sorted(table["id"].to_pylist()) == sorted(id_ for id_, _ in account.records())
    assert account.api_key not in log


def test_a_refused_key_is_not_retried(run_dag, account):
    """If the key is refused, the task fails immediately, and the log says why."""
    account.fail_next(*[Fault.status(401)] * 2)  # requests for the inboxes and for the first page
    ended, log = run_dag()

    assert ended == [{}, ["cekat_export"], "failed", {"export": "failed"}]
    assert "HTTP 401" in log
