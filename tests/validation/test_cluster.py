"""Clusters of real processes, further: workers on another machine's files, a scheduler that dies, and TLS."""

# ruff: noqa: F811
# What a test takes is what the fixture of that name makes.

import shutil
import subprocess

import pytest
from distributed import Client

import ensemble as ens
from ensemble.launch.cluster import connected, run_on_cluster
from ensemble.store import StoreError
from tests.helpers import assert_identical, shards
from tests.test_cluster import (  # noqa: F401 (fixtures)
    expected,
    kill_after_two_shards,
    processes,
    scheduler,
    small_shards,
    study,
    worker,
)


def test_workers_that_do_not_see_the_directory_return_their_shards(study, expected, processes, tmp_path, small_shards,
                                                                     monkeypatch):  # fmt: skip
    """The client gives the workers the name of a token that is not there, as on another machine."""
    _, address = scheduler(processes, tmp_path)
    worker(processes, address, tmp_path)
    submit = Client.submit

    def elsewhere(self, function, study, box, number, token, **options):
        return submit(self, function, study, box, number, f"/nowhere{token}", **options)

    monkeypatch.setattr(Client, "submit", elsewhere)
    with connected(address) as client:
        assert_identical(run_on_cluster(study, tmp_path / "out", client), expected)


def test_a_scheduler_that_dies_leaves_a_directory_that_goes_on(study, expected, processes, tmp_path, small_shards):
    chief, address = scheduler(processes, tmp_path)
    worker(processes, address, tmp_path)
    out = tmp_path / "out"

    killer = kill_after_two_shards(chief, out)
    with (
        pytest.raises(StoreError, match=r"the Dask scheduler is gone.*goes on from there"),
        connected(address) as client,
    ):
        run_on_cluster(study, out, client)
    killer.join()
    done = len(shards(out))
    assert 2 <= done < 12
    said = []
    assert_identical(ens.run(study, out=out, say=said.append), expected)
    assert any(f"{done} of 12 shards verified" in line for line in said) or len(shards(out)) == 12


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls(study, processes, tmp_path, small_shards):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    files = ["--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]
    _, address = scheduler(processes, tmp_path, *files)
    assert address.startswith("tls://")
    worker(processes, address, tmp_path, *files)
    one = study.only(width=[4], step_size=[0.05])
    with connected(address, tls_ca=cert, tls_cert=cert, tls_key=key) as client:
        assert_identical(run_on_cluster(one, tmp_path / "out", client), ens.run(one))
