"""What an endpoint may be configured to: a time-out within which a lease still leaves time to send."""

import pytest
from pydantic import ValidationError

from schemas.capabilities import Capabilities, ObservationCapabilities, ResourceCapabilities
from schemas.config import Endpoint
from schemas.endpoint_kinds import DEFAULTS
from streams.delivery.role import Pace
from tests.doubles.notes import NoteCapabilities

LONGEST_TIMEOUT_S = 60.0


def test_the_longest_timeout_leaves_most_of_a_minute_of_a_lease_to_begin_sending() -> None:
    assert Pace().lease_s - 3 * Capabilities(timeout_s=LONGEST_TIMEOUT_S).timeout_s >= 50


def test_a_timeout_with_which_nothing_would_ever_be_sent_is_refused() -> None:
    with pytest.raises(ValidationError):
        Capabilities(timeout_s=LONGEST_TIMEOUT_S + 0.1)


def matrix(kind: str, **given: object) -> Capabilities:
    return Endpoint(kind=kind, base_url="http://127.0.0.1", capabilities=given).matrix


def test_flat_keys_of_an_endpoint_mean_observation() -> None:
    flat = matrix("fhir", conditional_create=True, timeout_s=5)
    assert flat == matrix("fhir", timeout_s=5, Observation={"conditional_create": True})
    assert (flat.observation.conditional_create, flat.timeout_s) == (True, 5)


def test_a_site_changes_what_it_names_and_keeps_the_defaults_of_the_kind() -> None:
    changed = matrix("epic", Observation={"note": False}, encounter="optional").observation
    assert (changed.note, changed.encounter, changed.codings, changed.amend) == (False, "optional", "one", False)


def test_a_capability_given_flat_and_by_type_is_refused() -> None:
    with pytest.raises(ValidationError, match="`note` is given twice"):
        matrix("fhir", note=False, Observation={"note": True})


def test_an_endpoint_is_asked_nothing_of_a_type_that_it_does_not_know() -> None:
    capabilities = matrix("fhir")
    assert capabilities.of("Observation") is capabilities.observation
    assert not capabilities.of("DocumentReference").create
    assert not capabilities.of("observation").create


def test_every_field_with_the_name_of_a_resource_type_is_a_section_of_the_configuration() -> None:
    assert Capabilities.resource_models() == {"Observation": ObservationCapabilities}
    assert NoteCapabilities.resource_models() == {
        "Observation": ObservationCapabilities,
        "Communication": ResourceCapabilities,
    }


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_of_a_kind_survive_a_configuration_that_changes_nothing(kind: str) -> None:
    assert matrix(kind) == DEFAULTS[kind]
