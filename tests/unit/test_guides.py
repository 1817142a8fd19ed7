"""What the guides say agrees with the program: links, reasons, codes, metrics, alarms, queries, and the worked example."""

import re
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer.main
import yaml

from schemas.capabilities import Capabilities, ObservationCapabilities
from schemas.config import Config
from schemas.metrics import CATALOGUE
from schemas.operation import State
from schemas.reasons import Reason
from schemas.reference import Pairing
from streams.delivery.dialects import DIALECTS
from streams.delivery.http_rules import BY_CLASS, BY_STATUS
from streams.delivery.verdict import BY_ACKNOWLEDGEMENT
from streams.runtime.batches import Record
from streams.runtime.fail_fast import EXIT_UNSAFE
from streams.telemetry.kernel.vital_table import VitalTable
from testbed.sandbox_ehr.faults import FaultKind
from tests.property.kernel_logs import new_run
from vitalwire.cli.application import app

ROOT = Path(__file__).parents[2]
GUIDES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / f"{n}.md" for n in ("README", "SECURITY", "CONTRIBUTING"))]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
TELEMETRY = (ROOT / "docs/telemetry.md").read_text()
EHRS = (ROOT / "docs/ehr-behaviour.md").read_text()
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
CODE = {
    path: path.read_text()
    for package in ("schemas", "mappings", "streams", "adapters", "testbed", "vitalwire")
    for path in (ROOT / package).rglob("*.py")
}
CITATION = re.compile(r"docs/([\w-]+\.md)((?:,? (?:and |to )?§\d)+)")


def anchors(text: str) -> set[str]:
    """The names under which headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    return own | set(re.findall(r'^<a id="([^"]+)"></a>$', text, re.MULTILINE))


def first_column(text: str, header: str) -> list[str]:
    """The code in the first column of the table that begins with this header."""
    table = text.split(f"\n{header}\n", 1)[1].split("\n\n", 1)[0]
    return [code for row in table.splitlines()[1:] for code in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_guide_leads_somewhere(guide: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", guide.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (guide.parent / path) if path else guide
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def test_every_section_that_the_code_cites_exists():
    cited = {
        (name, number)
        for text in CODE.values()
        for name, numbers in CITATION.findall(text)
        for number in re.findall(r"\d", numbers)
    }

    assert len(cited) >= 5
    for name, number in cited:
        assert re.search(rf"^## {number}\. ", (ROOT / "docs" / name).read_text(), re.MULTILINE), (name, number)


def test_the_telemetry_guide_explains_each_reason_once():
    assert sorted(first_column(TELEMETRY, "| reason | meaning | remedy |")) == sorted(Reason)


def test_the_runbook_says_what_to_do_about_each_reason():
    assert sorted(first_column(OPERATIONS, "| reason | usual cause | action |")) == sorted(Reason)


def test_each_code_that_an_answer_can_hold_an_operation_with_is_in_the_runbook():
    held = {
        reason
        for state, reason in (*BY_STATUS.values(), *BY_CLASS.values(), *BY_ACKNOWLEDGEMENT.values())
        if state is State.HELD
    }

    assert held <= set(first_column(OPERATIONS, "| code | action |"))


def test_each_error_number_that_holds_an_operation_is_in_the_guide_to_ehrs():
    rules = [rule for dialect in DIALECTS.values() for rule in dialect.code_rules]
    held = {number for rule in rules if rule.state is State.HELD for number in rule.codes}

    assert held
    assert {number for number in held if number not in EHRS} == set()


def test_the_guide_to_ehrs_names_capabilities_and_faults_that_exist():
    named = {
        name.split(":")[0]
        for group in re.findall(r"[Cc]apabilit(?:y|ies) ((?:`[^`]+`(?:, | and )?)+)", EHRS)
        for name in re.findall(r"`([^`]+)`", group)
    }
    faults = EHRS.split("Faults for tests and demos", 1)[1].split("\n\n", 1)[0]

    assert named
    assert named - {*Capabilities.model_fields, *ObservationCapabilities.model_fields} == set()
    assert set(re.findall(r"`(\w+)`", faults)) == set(FaultKind.__args__)  # type: ignore[attr-defined]


def test_links_to_renamed_sections_of_the_runbook_still_work():
    """`a-ledger-that-went-back` is the section of an alarm in the rules of the version before."""
    renamed = {"a-ledger-that-went-back", "it-does-not-balance", "everyday-work", "what-must-never-be-done"}
    assert renamed | {"first-look", "metrics-that-matter", "how-a-worker-ends", "troubles"} <= anchors(OPERATIONS)


def test_the_runbook_names_metrics_that_exist():
    assert set(re.findall(r"vitalwire_(\w+)", OPERATIONS)) - CATALOGUE.keys() == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alarm_is_whole_and_the_runbook_says_what_to_do(rule: dict[str, Any]):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["expr"].count("(") == rule["expr"].count(")")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["section"] in anchors(OPERATIONS)
    assert rule["alert"] in OPERATIONS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alarm_looks_at_metrics_that_a_role_records(rule: dict[str, Any]):
    recorded = "\n".join(text for path, text in CODE.items() if path.name != "metrics.py")

    metrics = re.findall(r"vitalwire_(\w+)", rule["expr"])
    assert metrics or "up{" in rule["expr"]
    for asked in metrics:
        name = asked if asked in CATALOGUE else asked.removesuffix("_bucket")
        assert f'"{name}"' in recorded, f"nothing records {name}"


def test_alarms_have_names_of_their_own():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_runbook_explains_how_a_worker_ends():
    table = OPERATIONS.split("\n| exit code | meaning | action |\n", 1)[1].split("\n\n", 1)[0]

    assert {"0", "1", "2", str(EXIT_UNSAFE), "75"} <= {row.split("|")[1].strip() for row in table.splitlines()}


COMMANDS = [line for block in re.findall(r"```console\n(.+?)```", OPERATIONS, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_runbook_is_one_that_the_program_takes(line: str):
    program, group, name, *arguments = shlex.split(line)
    known = typer.main.get_command(app).commands[group].commands[name]  # type: ignore[attr-defined]

    assert program == "vitalwire"
    assert known.make_context(name, arguments).params["endpoint"] == "NAME"


class Monitor:
    """One monitor on the telemetry kernel, with default settings unless told: what is sent, and what came out."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.run = new_run(VitalTable(Config.model_validate(config or {})))
        interval = {"patient_id": "p", "from": "2026-01-01T00:00:00Z"}
        pairing = Pairing.model_validate({"tenant_id": "default", "device_id": "m", "intervals": [interval]})
        self.pairings = {("default", "m"): pairing}
        self.offset = 0

    def send(self, arrives: str, measured: str, value: float = 72) -> None:
        reading = {"device_id": "m", "type": "heart_rate", "value": value, "unit": "/min"}
        record = Record(self.offset, at_ms(arrives), b"m", orjson.dumps(reading | {"time": at_ms(measured)}), ())
        self.offset += 1
        self.run.add(self.run.kernel.ingest([record], self.pairings, 1))
        self.run.close()

    def look(self, clock: str) -> None:
        self.run.close(at_ms(clock))

    @property
    def windows(self) -> list[dict[str, Any]]:
        return [orjson.loads(window) for window in self.run.windows.values()]

    @property
    def out(self) -> list[str]:
        return [window["start"][11:19] for window in self.windows]

    @property
    def late(self) -> int:
        return len(self.run.late)


def at_ms(clock: str) -> int:
    hours, minutes, seconds = map(int, clock.split(":"))
    return 1_767_571_200_000 + ((hours * 60 + minutes) * 60 + seconds) * 1000


def test_the_worked_example_of_the_telemetry_guide_happens_as_it_says():
    monitor = Monitor()
    for second in range(1, 60):
        monitor.send(f"10:00:{second:02}", f"10:00:{second:02}")
    monitor.send("10:01:05", "10:00:58")
    assert (monitor.out, monitor.late) == ([], 0)

    monitor.send("10:01:10", "10:01:10")
    assert monitor.out == ["10:00:00"]

    monitor.send("10:01:11", "10:00:57")
    assert (monitor.out, monitor.late) == (["10:00:00"], 1)

    monitor.look("10:01:40")
    assert monitor.out == ["10:00:00"]
    monitor.look("10:01:41")
    assert monitor.out == ["10:00:00", "10:01:00"]


@pytest.mark.parametrize(
    ("publish", "causes"),
    [
        ({}, ["schedule", "schedule", "schedule", "schedule"]),
        ({"every": "15m"}, ["schedule", None, None, "schedule"]),
        ({"outside": [50, 120]}, [None, "threshold", "threshold", None]),
        ({"change": 20}, ["change", "change", "change", None]),
        ({"every": "15m", "outside": [50, 120]}, ["schedule", "threshold", "threshold", "schedule"]),
    ],
    ids=str,
)
def test_windows_are_published_as_the_telemetry_guide_says(publish: dict[str, Any], causes: list[str | None]):
    monitor = Monitor({"vitals": {"heart_rate": {"publish": publish}}})

    for clock, value in (("10:01:00", 70), ("10:02:00", 130), ("10:03:00", 75), ("10:15:00", 76)):
        monitor.send(clock, clock, value)
    monitor.look("10:20:00")

    assert [window["cause"] for window in monitor.windows] == causes
