"""Epic's error numbers. Source: Epic error codes [E1]; docs/ehr-behaviour.md §1."""

from schemas.operation import State
from streams.delivery.dialect import ALREADY_THERE, CodeRule, Dialect

CODE_SYSTEM = "urn:oid:1.2.840.114350"

DIALECT = Dialect(
    code_system=CODE_SYSTEM,
    code_rules=(
        CodeRule(frozenset({"59189", "59141"}), State.UNKNOWN, ALREADY_THERE),
        CodeRule(frozenset({"4107"}), State.HELD, "merged_patient"),
        CodeRule(
            frozenset({"4118", "4130", "4131", "4134", "4135", "59013", "59105", "59108", "59187", "59188"}),
            State.HELD,
            "settings",
        ),
        CodeRule(frozenset({"59177"}), State.UNKNOWN, "server_error"),
    ),
    encounter_refused=frozenset({"59111", "59144", "59159"}),
)
