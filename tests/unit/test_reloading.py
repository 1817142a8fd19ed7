"""A changed configuration is taken when sound; a bad one is refused and told, and the old one stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.metrics import PrometheusObserver
from mappings.observation.mapper import BUILT_IN_TEMPLATE
from tests.conditions import until
from vitalwire.configuration import read_configuration
from vitalwire.roles.reloading import ConfigurationWatch

SOUND = "tenants:\n  north: {endpoints: [e]}\nendpoints:\n  e: {kind: fhir, base_url: 'https://fhir.example/r4'}\n"
CHANGED = SOUND + "vitals:\n  heart_rate: {window: 30s}\n"
BAD = SOUND + "vitals:\n  heart_rate: {window: 7}\n"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "vitalwire.yaml"
    file.write_text(SOUND)
    return file


def watching(file: Path) -> tuple[asyncio.Task[None], PrometheusObserver]:
    observer = PrometheusObserver()
    watch = ConfigurationWatch(file, read_configuration(file).seen, observer, look_every_s=0.01)
    return asyncio.create_task(watch.changed()), observer


def reloads(observer: PrometheusObserver, outcome: str) -> float:
    name = "vitalwire_configuration_reloads_total"
    return observer.registry.get_sample_value(name, {"outcome": outcome}) or 0


async def test_a_valid_configuration_change_is_applied(config_file):
    changed, observer = watching(config_file)
    config_file.write_text(CHANGED)
    await asyncio.wait_for(changed, 10)
    assert reloads(observer, "accepted") == 1


async def test_an_invalid_configuration_change_is_refused_and_logged_once_until_it_is_corrected(config_file, caplog):
    changed, observer = watching(config_file)
    config_file.write_text(BAD)
    await until(lambda: reloads(observer, "refused") == 1, 10)
    assert not changed.done()
    assert "line 6" in caplog.text or ":6" in caplog.text
    config_file.write_text(CHANGED)
    await asyncio.wait_for(changed, 10)
    assert reloads(observer, "refused") == 1


async def test_a_configuration_that_vanishes_is_refused(config_file):
    changed, observer = watching(config_file)
    config_file.unlink()
    await until(lambda: reloads(observer, "refused") == 1, 10)
    assert not changed.done()
    changed.cancel()


async def test_a_changed_template_is_a_changed_configuration(config_file):
    template = config_file.parent / "site.yaml"
    template.write_text(BUILT_IN_TEMPLATE)
    config_file.write_text(SOUND.replace("'}", "', template: site.yaml}"))
    changed, observer = watching(config_file)
    template.write_text(BUILT_IN_TEMPLATE + "\n# reviewed\n")
    await asyncio.wait_for(changed, 10)
    assert reloads(observer, "accepted") == 1


@pytest.mark.parametrize("named", ["vitalwire.yaml", "site.yaml"])
async def test_what_changes_between_reading_and_watching_is_a_change(config_file, named):
    template = config_file.parent / "site.yaml"
    template.write_text(BUILT_IN_TEMPLATE)
    config_file.write_text(SOUND.replace("'}", "', template: site.yaml}"))
    read = read_configuration(config_file)
    changed_file = config_file.parent / named
    changed_file.write_text(changed_file.read_text() + "\n# reviewed\n")
    watch = ConfigurationWatch(config_file, read.seen, PrometheusObserver(), look_every_s=0.01)
    await asyncio.wait_for(watch.changed(), 10)


async def test_a_template_that_comes_after_the_configuration_that_names_it_is_taken(config_file):
    changed, observer = watching(config_file)
    config_file.write_text(SOUND.replace("'}", "', template: site.yaml}"))
    await until(lambda: reloads(observer, "refused") == 1, 10)
    (config_file.parent / "site.yaml").write_text(BUILT_IN_TEMPLATE)
    await asyncio.wait_for(changed, 10)
