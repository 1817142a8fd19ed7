"""Any response of an EHR, likely or absurd, and any attempt that it may end."""

import json

from hypothesis import strategies as st

from schemas.ehr import EhrResponse
from streams.delivery.dialects.epic import CODE_SYSTEM
from tests.doubles.ehr_responses import attempt_context, outcome

MEANT = {
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2026-01-05T10:01:00Z",
}
KINDS = ["fhir", "epic", "oracle-health"]
ACTIONS = ["create", "update", "search"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resourceType", "issue", "details", "coding", "system", "code", "id", "meta", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | st.lists(st.sampled_from(["59189", "59141", "4107", "59108", "59111", "59177", "9"]), max_size=3).map(
        lambda codes: outcome(*codes)
    )
)
headers = st.dictionaries(
    st.sampled_from(["location", "Location", "etag", "ETag", "retry-after", "Retry-After", "content-type"]),
    st.text(max_size=40)
    | st.sampled_from(
        ["Observation/1", "https://ehr/r4/Observation/a-b/_history/2", 'W/"3"', "120", "-5", "1e99", "9" * 400]
    )
    | st.sampled_from(["Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 1999 07:28:00 GMT", "Wed, 99 Xxx 2099"]),
    max_size=4,
)
responses = st.builds(
    EhrResponse,
    st.none() | st.integers(-5, 1200),
    headers,
    bodies,
    st.booleans(),
    st.none() | st.text(),
    msa_1=st.none(),
)
contexts = st.builds(
    lambda kind, action, refusals, previous, conditional: attempt_context(
        kind, action, previous, refusals, conditional_create=conditional
    ),
    st.sampled_from(KINDS),
    st.sampled_from(ACTIONS),
    st.integers(0, 50),
    st.none() | st.sampled_from(["59111", "no_answer", "59189"]),
    st.booleans(),
)
ODD_NAMES = ["a\0b", "\0", "a\n", "ä", "a b", "", "x" * 129, 'W/"1"', "1", "a/b", "\u202e1", '"']
odd_headers = st.dictionaries(
    st.sampled_from(["location", "etag"]),
    st.sampled_from([*ODD_NAMES, *(f"Observation/{n}" for n in ODD_NAMES), *(f'W/"{n}"' for n in ODD_NAMES)])
    | st.sampled_from([f"Observation/1/_history/{n}" for n in ODD_NAMES]),
)
odd_bodies = st.fixed_dictionaries(
    {},
    optional={
        "resourceType": st.sampled_from(["Observation", "OperationOutcome", 1]),
        "id": st.sampled_from(ODD_NAMES) | st.text() | st.integers(),
        "meta": st.fixed_dictionaries({"versionId": st.sampled_from(ODD_NAMES) | st.text() | st.integers()})
        | st.text(),
        "issue": st.lists(
            st.fixed_dictionaries(
                {
                    "code": st.sampled_from(["required", "required\n", "a\0"]) | st.text(),
                    "details": st.fixed_dictionaries(
                        {
                            "coding": st.lists(
                                st.fixed_dictionaries(
                                    {
                                        "system": st.just(CODE_SYSTEM),
                                        "code": st.sampled_from(["59189\n", "59189\0", "٥٩", "59189"]),
                                    }
                                )
                            )
                        }
                    ),
                }
            )
        ),
    },
)
odd_responses = st.builds(
    EhrResponse,
    st.sampled_from([None, 200, 201, 400, 422, 302, 500]),
    odd_headers,
    odd_bodies.map(lambda body: json.dumps(body).encode()),
    st.booleans(),
    msa_1=st.none(),
)
