"""PostgreSQL and HAPI FHIR as tests start them: real, restartable, and gone afterwards."""

import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy

from schemas.errors import Misconfigured
from testbed.servers import java, postgresql
from testbed.servers.hapi import HapiServer
from testbed.servers.postgresql import PostgresServer
from testbed.servers.process import ServerProcess, children
from tests.conditions import wait_until

FHIR = {"Content-Type": "application/fhir+json"}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def rows(url: str) -> list[tuple[int, ...]]:
    with psycopg.connect(url.replace("+psycopg", "")) as session:
        return session.execute("SELECT n FROM kept").fetchall()


def test_each_test_has_an_empty_database_of_each_kind(database_url: str):
    engine = sqlalchemy.create_engine(database_url)

    assert sqlalchemy.inspect(engine).get_table_names() == []

    engine.dispose()


def test_postgresql_keeps_committed_rows_over_a_kill_and_a_stop(tmp_path: Path):
    with PostgresServer(tmp_path / "log") as server:
        url = server.create_database("one")
        with psycopg.connect(url.replace("+psycopg", "")) as session:
            session.execute("CREATE TABLE kept (n int)")
            session.execute("INSERT INTO kept VALUES (72)")

        server.kill()
        with pytest.raises(psycopg.OperationalError):
            rows(url)
        server.start()
        assert rows(url) == [(72,)]

        server.stop()
        server.start()
        assert rows(url) == [(72,)]


def test_postgresql_leaves_no_process_and_no_file(tmp_path: Path):
    with PostgresServer(tmp_path / "log") as server:
        assert server.pid is not None
        processes = [server.pid, *children(server.pid)]
        home = server.home
        assert len(processes) > 1

    assert [pid for pid in processes if is_alive(pid)] == []
    assert not home.exists()


def test_postgresql_asks_for_a_password(tmp_path: Path):
    with PostgresServer(tmp_path / "log") as server:
        address = sqlalchemy.make_url(server.url())
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=address.host, port=address.port, user=address.username, dbname="postgres")


def test_without_postgresql_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(postgresql, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Misconfigured, match="apt-get install postgresql"):
        PostgresServer(tmp_path / "log")


def test_hapi_stores_and_finds_a_patient(hapi: str):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:example:mrn", "value": "found"}]}

    created = httpx.post(f"{hapi}/Patient", json=patient, headers=FHIR, timeout=30)
    found = httpx.get(f"{hapi}/Patient", params={"identifier": "urn:example:mrn|found"}, timeout=30)

    assert created.status_code == 201
    assert [entry["resource"]["id"] for entry in found.json()["entry"]] == [created.json()["id"]]


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param({"resourceType": "Observation", "code": {"text": "Heart rate"}}, id="no status"),
        pytest.param(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "Heart rate"},
                "subject": {"reference": "Patient/nobody"},
            },
            id="subject that is not there",
        ),
    ],
)
def test_hapi_refuses_what_is_not_valid(hapi: str, observation: dict[str, object]):
    answer = httpx.post(f"{hapi}/Observation", json=observation, headers=FHIR, timeout=30)

    assert answer.status_code in {400, 412, 422}
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_hapi_with_a_database_file_keeps_acknowledged_writes_over_a_kill(tmp_path: Path):
    with HapiServer(tmp_path / "log", database=str(tmp_path / "hapi"), validate=False) as server:
        pid = server.pid
        assert pid is not None
        created = httpx.put(
            f"{server.base_url}/Patient/p-9", json={"resourceType": "Patient", "id": "p-9"}, headers=FHIR
        )
        assert created.status_code == 201

        server.kill()
        assert not is_alive(pid)
        server.start()

        assert httpx.get(f"{server.base_url}/Patient/p-9", timeout=30).status_code == 200


def test_a_program_is_built_once_and_found_after_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    built = java.jars("kafka")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert java.jars("kafka") == built
    assert list(built.glob("kafka_*.jar"))


def test_without_maven_an_unbuilt_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("VITALWIRE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Misconfigured, match="apt-get install maven"):
        java.jars("kafka")


def test_a_server_that_is_never_ready_is_ended(tmp_path: Path):
    server = ServerProcess("A test server", ["/bin/sleep", "60"], log_file=tmp_path / "log")

    with pytest.raises(Misconfigured, match="not ready within"):
        server.wait_until(lambda: False, timeout_s=0.1)

    assert not is_alive(server.pid)


def test_a_command_that_does_not_exist_is_reported_with_its_log_file(tmp_path: Path):
    with pytest.raises(Misconfigured, match="could not be started"):
        ServerProcess("A test server", ["/nowhere/at-all"], log_file=tmp_path / "log")

    assert "No such file" in (tmp_path / "log").read_text()


def test_a_server_that_will_not_stop_is_killed(tmp_path: Path):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w').close(); signal.pause()"
    script = tmp_path / "deaf.py"
    script.write_text(deaf.replace("'deaf'", repr(str(tmp_path / "ready"))))
    server = ServerProcess("A test server", [sys.executable, str(script)], log_file=tmp_path / "log", grace_s=0.2)
    wait_until((tmp_path / "ready").exists)

    server.stop()

    assert not is_alive(server.pid)


def test_killing_the_guard_ends_the_server(tmp_path: Path):
    server = ServerProcess("A test server", ["/bin/sleep", "60"], log_file=tmp_path / "log")

    server._guard.kill()

    wait_until(lambda: not is_alive(server.pid), what="the server's end")
    server.stop()


def test_the_files_the_servers_are_built_from_are_in_the_wheel(tmp_path: Path):
    root = Path(__file__).parents[2]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", "--local", str(root), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source],
        check=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True
    ).stdout
    for file in ("kafka/pom.xml", "hapi/pom.xml", "hapi/src/main/java/vitalwire/local/FhirServer.java"):
        assert f"deploy/local/{file}" in names
