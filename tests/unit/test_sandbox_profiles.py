"""The sandbox EHR simulates the kinds of EHR that an endpoint can be."""

from schemas.endpoint_kinds import DEFAULTS
from testbed.sandbox_ehr.profiles import PROFILES


def test_each_profile_is_a_kind_of_endpoint_and_only_hl7v2_has_none():
    assert DEFAULTS.keys() - PROFILES.keys() == {"hl7v2"}
    assert PROFILES.keys() <= DEFAULTS.keys()


def test_a_profile_has_the_name_of_its_kind():
    assert {name: profile.name for name, profile in PROFILES.items()} == {name: name for name in PROFILES}
