"""The command line, the AsyncAPI document, compose and Prometheus name the roles that the registry lists, and no others."""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from schemas import topics
from schemas.errors import Misconfigured
from schemas.publish import asyncapi
from vitalwire.cli.application import app
from vitalwire.roles.registry import NAMES, ROLES, RoleSpec, role_named

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
WORKERS = {name: service for name, service in SERVICES.items() if service.get("command", [None])[0] == "worker"}
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
RULES = (ROOT / "deploy/prometheus/rules.yml").read_text()


def test_each_role_is_listed_once():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_each_role_has_a_function_that_runs_it_with_the_settings(role: RoleSpec):
    (settings,) = inspect.signature(role.load()).parameters.values()

    assert settings.annotation == "Settings"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_each_role_has_a_file_of_its_own_name(role: RoleSpec):
    assert role.run == f"vitalwire.roles.{role.name}:run"
    assert (ROOT / f"vitalwire/roles/{role.name}.py").is_file()


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_each_role_uses_topics_that_are_created_and_sends_heartbeats(role: RoleSpec):
    assert {*role.receives, *role.sends} <= set(topics.ALL)
    assert topics.HEARTBEATS in role.sends


def test_the_help_of_the_worker_command_names_each_role():
    worker = typer.main.get_command(app).commands["worker"]  # type: ignore[attr-defined]
    (argument,) = (parameter for parameter in worker.params if parameter.name == "role")

    assert re.findall(r"\w[\w-]*", argument.help.replace(" or ", ", ")) == list(NAMES)


def test_an_unknown_role_is_refused_with_the_names_of_all():
    outcome = CliRunner().invoke(app, ["worker", "kitchen"])

    assert isinstance(outcome.exception, Misconfigured)
    with pytest.raises(Misconfigured, match=", ".join(NAMES)):
        role_named("kitchen")


def test_the_asyncapi_document_has_the_operations_of_each_role():
    named = {operation["tags"][0]["name"] for operation in asyncapi("1", ROLES)["operations"].values()}

    assert named == set(NAMES)


def test_compose_runs_each_role_as_a_service_of_its_name():
    assert {name: service["command"] for name, service in WORKERS.items()} == {n: ["worker", n] for n in NAMES}


def test_prometheus_scrapes_each_role_where_compose_runs_it():
    expected = {}
    for role in NAMES:
        host = WORKERS[role].get("network_mode", f"service:{role}").removeprefix("service:")
        expected[role] = [f"{host}:{WORKERS[role]['environment']['VITALWIRE_METRICS_PORT']}"]
    (job,) = PROMETHEUS["scrape_configs"]

    assert {group["labels"]["role"]: group["targets"] for group in job["static_configs"]} == expected


def test_alerts_are_grouped_by_role_and_select_no_other():
    groups = {group["name"].removeprefix("vitalwire-") for group in yaml.safe_load(RULES)["groups"]}
    selected = {name for names in re.findall(r'\brole=~?"([^"]+)"', RULES) for name in names.split("|")}

    assert groups <= {"roles", *NAMES}
    assert selected <= set(NAMES)


def test_the_rooms_of_the_roles_are_those_that_may_not_import_each_other():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (independent,) = (one for one in contracts if one["type"] == "independence")

    assert set(independent["modules"]) == {f"streams.{name}" for name in NAMES if (ROOT / "streams" / name).is_dir()}
