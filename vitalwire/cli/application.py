"""The commands of `vitalwire`. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitalwire import __version__
from vitalwire.cli.testbed_needed import testbed_needed
from vitalwire.roles.registry import NAMES

app = typer.Typer(
    name="vitalwire",
    help="Vitals from Kafka to the chart: windows readings, validates the results, and writes FHIR Observations to EHRs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ledger_app = typer.Typer(
    help="Inspect the ledger: every operation for an EHR, its state and its attempts.", no_args_is_help=True
)
app.add_typer(ledger_app, name="ledger")
audit_app = typer.Typer(help="Verify the audit trail.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vitalwire {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Settings are read from VITALWIRE_* environment variables; see the README."""


@app.command()
def demo(
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="60s", help="Stop after this duration; without it, on Ctrl-C."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the reconciliation report to this file.")] = None,
    broker: Annotated[str, typer.Option(help="Kafka broker to start: auto, container, apache or embedded.")] = "auto",
    beds: Annotated[
        int, typer.Option(min=2, max=100, help="Number of ordinary beds; four special ones are added.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Seed that selects the recordings and their start.")] = 1,
) -> None:
    """Run everything on this machine: broker, simulated ward, all roles, sandbox EHR; then check every Observation.

    Exits with 0 only if the report accounts for every reading and the EHR holds exactly the expected Observations.
    """
    with testbed_needed("demo"):
        from vitalwire.cli.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(for_=for_, report=report, broker=broker, beds=beds, seed=seed))


@app.command()
def worker(
    role: Annotated[str, typer.Argument(metavar="ROLE", help=f"{', '.join(NAMES[:-1])} or {NAMES[-1]}.")],
) -> None:
    """Run one role until SIGTERM. Reads its configuration from VITALWIRE_CONFIG and its settings from VITALWIRE_*."""
    from vitalwire.cli.worker import run_worker  # noqa: PLC0415

    run_worker(role)


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="NDJSON (one reading or frame per line) or CSV with a header.")],
    json: AsJson = False,
) -> None:
    """Send the readings in a file to `telemetry.readings`. Exits with 1 if a line has no device_id."""
    from vitalwire.cli.send import run_send  # noqa: PLC0415

    raise typer.Exit(run_send(file, as_json_document=json))


@app.command()
def reconcile(json: AsJson = False) -> None:
    """Account for every reading, by counting all topics and the ledger. Exits with 1 if the counts do not balance."""
    from vitalwire.cli.reconcile import run_reconcile  # noqa: PLC0415

    raise typer.Exit(run_reconcile(as_json_document=json))


@app.command()
def check(
    config: Annotated[Path | None, typer.Argument(help="Configuration file; by default VITALWIRE_CONFIG.")] = None,
    json: AsJson = False,
) -> None:
    """List every mistake in a configuration and its templates, with file, line and remedy. Exits with 1 if there is one."""
    from vitalwire.cli.check import run_check  # noqa: PLC0415

    raise typer.Exit(run_check(config, as_json_document=json))


@app.command()
def topics(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of new topics.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Replication factor of new topics.")] = 1,
    json: AsJson = False,
) -> None:
    """Create missing topics, and list how existing ones differ from their specification. Exits with 1 if one differs."""
    from vitalwire.cli.topics import run_topics  # noqa: PLC0415

    raise typer.Exit(run_topics(partitions, replication, as_json_document=json))


@app.command("sandbox-ehr")
def sandbox_ehr(
    profile: Annotated[str, typer.Option(help="EHR to simulate, e.g. epic, oracle-health or fhir.")] = "epic",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on loopback; 0: any free port.")] = 0,
) -> None:
    """Run a simulated EHR on loopback until Ctrl-C. It validates writes as the real EHR does and stores them in memory."""
    with testbed_needed("sandbox-ehr"):
        from vitalwire.cli.servers import run_sandbox_ehr  # noqa: PLC0415

    run_sandbox_ehr(profile, port)


@app.command()
def broker(
    kind: Annotated[str, typer.Option(help="Kind of broker: auto, container, apache or embedded.")] = "auto",
) -> None:
    """Run a Kafka broker on this machine until Ctrl-C. Prints its address."""
    with testbed_needed("broker"):
        from vitalwire.cli.servers import run_broker  # noqa: PLC0415

    run_broker(kind)


@app.command()
def schemas(
    directory: Annotated[Path, typer.Option("--out", help="Output directory.")] = Path("schemas/published"),
) -> None:
    """Write the JSON Schema of every topic and the AsyncAPI document."""
    from vitalwire.cli.schemas import run_schemas  # noqa: PLC0415

    run_schemas(directory)


@ledger_app.command("list")
def ledger_list(
    state: Annotated[str | None, typer.Option(help="Only operations in this state, e.g. held.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only operations for this endpoint.")] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only operations with an attempt that ended after its lease (stale_claim).")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of operations, earliest first.")] = 100,
    json: AsJson = False,
) -> None:
    """List operations by state and endpoint; without options, count the operations in each state at each endpoint."""
    from vitalwire.cli.ledger import run_list, run_list_operations  # noqa: PLC0415

    if state is None and endpoint is None and not stale:
        run_list(as_json_document=json)
    else:
        run_list_operations(endpoint, state, limit, stale=stale, as_json_document=json)


@ledger_app.command("release")
def ledger_release(
    reason: Annotated[str, typer.Option(help="Reason for the audit trail. Do not name a patient.")],
    operation_ids: Annotated[list[str] | None, typer.Argument(help="Ids of held operations.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="With --code: all operations held at this endpoint with this code.")
    ] = None,
    code: Annotated[str | None, typer.Option(help="With --endpoint: the code that they are held for.")] = None,
    json: AsJson = False,
) -> None:
    """Release held operations to delivery, once their cause is resolved. The audit trail records your user name and reason."""
    from vitalwire.cli.ledger import run_release  # noqa: PLC0415

    raise typer.Exit(run_release(operation_ids or [], endpoint, code, reason, as_json_document=json))


@ledger_app.command("show")
def ledger_show(
    operation_id: Annotated[str, typer.Argument(help="Operation id, as in logs and audit events.")],
    json: AsJson = False,
) -> None:
    """Show one operation: where to find its result in the chart, and every attempt.

    Shows the patient (subject_id) and the device, but no measured values. Treat the output as patient data.
    """
    from vitalwire.cli.ledger import run_show  # noqa: PLC0415

    run_show(operation_id, as_json_document=json)


@audit_app.command("verify")
def audit_verify(json: AsJson = False) -> None:
    """Verify every hash chain in `audit.events`, from its first retained event to its last. Exits with 1 if one is broken."""
    from vitalwire.cli.audit import run_verify  # noqa: PLC0415

    raise typer.Exit(run_verify(as_json_document=json))
