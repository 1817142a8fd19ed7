"""The demo's parts, started in order and stopped in reverse: broker, sandbox EHR, topics, ledger, one process a role."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from adapters.kafka.topics import create_or_verify
from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.config import Config
from testbed.brokers import Kind, start_broker
from testbed.sandbox_ehr import SandboxEhr
from testbed.servers.process import LOOPBACK, ServerProcess, free_port
from testbed.ward.plan import Ward
from vitalwire.configuration import read_configuration
from vitalwire.demo.configuration import text
from vitalwire.roles.registry import NAMES
from vitalwire.settings import Settings, from_environment

READY_S = 180.0
"""The first start on a machine compiles the window kernel: some ten seconds, and minutes where other work goes on."""
PARTITIONS = 4

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts, and how to reach them."""

    settings: Settings
    config: Config
    ledger: SqlLedger
    ehr: SandboxEhr
    workers: Mapping[str, ServerProcess]


@contextmanager
def start(ward: Ward, broker: Kind | Literal["auto"], directory: Path, say: Say) -> Iterator[Parts]:
    """Every part but the ward, started and ready. `say` reports each step."""
    with ExitStack() as stack:
        say("starting a Kafka broker")
        kafka = stack.enter_context(
            start_broker(broker, data_directory=directory / "broker", log_file=directory / "broker.log")
        )
        say(f"{kafka.kind} broker at {kafka.bootstrap_servers}")
        ehr = stack.enter_context(SandboxEhr("epic"))
        ehr.seed(*ward.subject_ids().values())
        say(f"sandbox EHR (Epic profile) at {ehr.base_url}")
        environment = _environment(ward, ehr, kafka.bootstrap_servers, directory)
        settings = from_environment(environment)
        create_or_verify(settings.bootstrap_servers(), settings.topic_prefix, PARTITIONS)
        migrate(settings.database)
        ledger = open_ledger(settings.database, settings.ledger_encryption(), subscribers=())
        stack.callback(ledger.close)
        say(f"workers: {', '.join(NAMES)}")
        workers = _start_workers(environment, directory, stack)
        yield Parts(settings, read_configuration(settings.configuration()).config, ledger, ehr, workers)
        say("stopping all parts")


def _environment(ward: Ward, ehr: SandboxEhr, bootstrap_servers: str, directory: Path) -> dict[str, str]:
    """The workers' environment, made for this demo; secrets are in files that only the owner can read."""
    config_file = directory / "vitalwire.yaml"
    config_file.write_text(text({ward.tenant_id: ward.endpoint}, {ward.endpoint: ehr.endpoint(directory)}))
    return {
        "VITALWIRE_KAFKA": bootstrap_servers,
        # a topic prefix of its own: the broker may be a shared one that VITALWIRE_KAFKA names
        "VITALWIRE_TOPIC_PREFIX": f"demo-{secrets.token_hex(3)}.",
        # joining a group takes half of this on the embedded broker
        "VITALWIRE_SESSION_TIMEOUT_S": "6",
        "VITALWIRE_DATA": str(directory),
        "VITALWIRE_DATABASE": f"sqlite:///{directory / 'ledger.sqlite'}",
        "VITALWIRE_CONFIG": str(config_file),
        "VITALWIRE_IDENTITY_KEY_FILE": str(_key_file(directory / "identity.key")),
        "VITALWIRE_LEDGER_KEY_FILE": str(_key_file(directory / "ledger.key")),
    }


def _key_file(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="ascii")
    return path


def _start_workers(environment: Mapping[str, str], directory: Path, stack: ExitStack) -> dict[str, ServerProcess]:
    """One process per role, each ready before the ward opens. They end with this process, even if it is killed."""
    ports = {role: free_port() for role in NAMES}
    workers: dict[str, ServerProcess] = {}
    stack.callback(_stop_together, workers)
    for role, port in ports.items():
        given = {**environment, "VITALWIRE_METRICS_PORT": str(port)}
        assigned = [f"{name}={value}" for name, value in given.items()]
        command = ["/usr/bin/env", *assigned, sys.executable, "-m", "vitalwire", "worker", role]
        workers[role] = ServerProcess(f"The {role} worker", command, log_file=directory / f"{role}.log")
    for role, worker in workers.items():
        worker.wait_until(_ready(ports[role]), timeout_s=READY_S)
    return workers


def _stop_together(workers: Mapping[str, ServerProcess]) -> None:
    """Stop them in parallel: each needs seconds to leave its consumer group."""
    with ThreadPoolExecutor(len(NAMES)) as stopping:
        list(stopping.map(ServerProcess.stop, workers.values()))


def _ready(port: int) -> Callable[[], bool]:
    def asks() -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{port}/health/ready", timeout=1.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    return asks
