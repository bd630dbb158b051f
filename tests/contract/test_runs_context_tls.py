"""A cluster whose connections are secured: clients of tasks and flows keep that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from runners import DaskTaskRunner, get_async_dask_client, get_dask_client

pytestmark = [pytest.mark.dask, pytest.mark.timeout(90), pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make a certificate")]


@pytest.fixture
def security(tmp_path: Path) -> Any:
    """Return what secures a cluster: a certificate that vouches for itself."""
    from distributed import Security

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    pair = {f"tls_{role}_{part}": str(path) for role in ("client", "scheduler", "worker")
            for part, path in (("cert", certificate), ("key", key))}
    return Security(tls_ca_file=str(certificate), require_encryption=True, **pair)


def double(x: int) -> int:
    return 2 * x


@task
def asks(x: int, **keywords: Any) -> Any:
    with get_dask_client(**keywords) as client:
        return client.submit(double, x).result(), client.scheduler.address.partition(":")[0]


@task
async def asks_async(x: int) -> Any:
    async with get_async_dask_client() as client:
        return await client.submit(double, x)


def test_clients_in_tasks_and_flows_are_secured_too(security: Any) -> None:
    @flow(task_runner=DaskTaskRunner(
        cluster_kwargs={"n_workers": 1, "threads_per_worker": 1, "security": security,
                        "protocol": "tls"}, client_kwargs={"security": security}))
    def body() -> Any:
        with get_dask_client() as client:
            here = client.submit(double, 1).result()
        return (here, asks.submit(2).result(), asks.submit(3, name="new").result(),
                asks_async.submit(4).result())

    assert body() == (2, (4, "tls"), (6, "tls"), 8)
