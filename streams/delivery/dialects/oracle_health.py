"""Oracle Health's refusals by its own rules or settings. Source: Millennium R4 [O1]; docs/ehr-behaviour.md §2."""

from schemas.operation import State
from streams.delivery.dialect import Dialect, IssueRule

DIALECT = Dialect(
    issue_rules=(IssueRule(422, frozenset({"business-rule", "not-supported", "required"}), State.HELD, "settings"),),
)
