"""The commands of `vitalwire`. Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitalwire import __version__
from vitalwire.cli.testbed_needed import testbed_needed
from vitalwire.roles.registry import NAMES

app = typer.Typer(
    name="vitalwire",
    help="From a vital on Kafka to an Observation in the chart: windows, de-duplicates, checks, and writes to the EHR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ledger_app = typer.Typer(
    help="Look into the ledger: what should happen at each EHR, and what became of it.", no_args_is_help=True
)
app.add_typer(ledger_app, name="ledger")
audit_app = typer.Typer(help="Prove that the audit trail was not changed.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for a machine.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vitalwire {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Settings come from VITALWIRE_* environment variables; see the README."""


@app.command()
def demo(
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="60s", help="Stop by itself after this long; without it, Ctrl-C stops."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the reconciliation report to this file.")] = None,
    broker: Annotated[
        str, typer.Option(help="auto, container, apache or embedded: which Kafka broker to start.")
    ] = "auto",
    beds: Annotated[
        int, typer.Option(min=2, max=100, help="Ordinary beds of the ward; four with a story come on top.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Which recordings are replayed, and where they begin.")] = 1,
) -> None:
    """The whole job on this machine: broker, simulated ward, all roles, a sandbox EHR, and a check of what it holds."""
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
    file: Annotated[Path, typer.Argument(help="NDJSON (one reading or frame a line) or CSV with a header.")],
    json: AsJson = False,
) -> None:
    """Send the readings of a file to `telemetry.readings`."""
    from vitalwire.cli.send import run_send  # noqa: PLC0415

    raise typer.Exit(run_send(file, as_json_document=json))


@app.command()
def reconcile(json: AsJson = False) -> None:
    """Where every reading went: counts over whole topics and the ledger. Ends with 1 if they do not balance."""
    from vitalwire.cli.reconcile import run_reconcile  # noqa: PLC0415

    raise typer.Exit(run_reconcile(as_json_document=json))


@app.command()
def check(
    config: Annotated[Path | None, typer.Argument(help="Configuration file; VITALWIRE_CONFIG if left out.")] = None,
    json: AsJson = False,
) -> None:
    """Find every mistake in a configuration and its templates, with file, line and remedy."""
    from vitalwire.cli.check import run_check  # noqa: PLC0415

    raise typer.Exit(run_check(config, as_json_document=json))


@app.command()
def topics(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of topics that are created.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Replicas of topics that are created.")] = 1,
    json: AsJson = False,
) -> None:
    """Create the topics that are missing, and say how the others differ from what they should be."""
    from vitalwire.cli.topics import run_topics  # noqa: PLC0415

    raise typer.Exit(run_topics(partitions, replication, as_json_document=json))


@app.command("sandbox-ehr")
def sandbox_ehr(
    profile: Annotated[str, typer.Option(help="epic, oracle-health or fhir: which EHR's rules and answers.")] = "epic",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on loopback; 0 takes a free one.")] = 0,
) -> None:
    """A simulated EHR on loopback, for trying out. It accepts and refuses as the real ones do, and keeps what it accepted."""
    with testbed_needed("sandbox-ehr"):
        from vitalwire.cli.servers import run_sandbox_ehr  # noqa: PLC0415

    run_sandbox_ehr(profile, port)


@app.command()
def broker(
    kind: Annotated[str, typer.Option(help="auto, container, apache or embedded.")] = "auto",
) -> None:
    """A Kafka broker on this machine until Ctrl-C. Prints its address."""
    with testbed_needed("broker"):
        from vitalwire.cli.servers import run_broker  # noqa: PLC0415

    run_broker(kind)


@app.command()
def schemas(
    directory: Annotated[Path, typer.Option("--out", help="Where the documents are written.")] = Path(
        "schemas/published"
    ),
) -> None:
    """Write the JSON Schema of every topic and the AsyncAPI document."""
    from vitalwire.cli.schemas import run_schemas  # noqa: PLC0415

    run_schemas(directory)


@ledger_app.command("list")
def ledger_list(
    state: Annotated[str | None, typer.Option(help="List the operations in this state, e.g. held.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="List the operations of this endpoint.")] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="List those with an attempt that ended after its lease (stale_claim).")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many, the earliest first.")] = 100,
    json: AsJson = False,
) -> None:
    """Operations in a state, of an endpoint; without conditions, how many there are in which state at each endpoint."""
    from vitalwire.cli.ledger import run_list, run_list_operations  # noqa: PLC0415

    if state is None and endpoint is None and not stale:
        run_list(as_json_document=json)
    else:
        run_list_operations(endpoint, state, limit, stale=stale, as_json_document=json)


@ledger_app.command("release")
def ledger_release(
    reason: Annotated[str, typer.Option(help="Why, for the audit trail. Name no patient.")],
    operation_ids: Annotated[list[str] | None, typer.Argument(help="Ids of held operations.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="With --code: all held operations of this endpoint.")] = None,
    code: Annotated[str | None, typer.Option(help="With --endpoint: those that are held for this.")] = None,
    json: AsJson = False,
) -> None:
    """Let delivery try held operations again, after their cause was mended. Written to the audit trail with your name."""
    from vitalwire.cli.ledger import run_release  # noqa: PLC0415

    raise typer.Exit(run_release(operation_ids or [], endpoint, code, reason, as_json_document=json))


@ledger_app.command("show")
def ledger_show(
    operation_id: Annotated[str, typer.Argument(help="The operation's id, as logs and audit events give it.")],
    json: AsJson = False,
) -> None:
    """One operation: where to look for it in the chart, and each attempt.

    Names the patient (subject_id) and the device, so read it where charts may be read; it shows no values measured.
    """
    from vitalwire.cli.ledger import run_show  # noqa: PLC0415

    run_show(operation_id, as_json_document=json)


@audit_app.command("verify")
def audit_verify(json: AsJson = False) -> None:
    """Follow every chain that `audit.events` keeps, from its first event to its last. Ends with 1 if one does not hold."""
    from vitalwire.cli.audit import run_verify  # noqa: PLC0415

    raise typer.Exit(run_verify(as_json_document=json))
