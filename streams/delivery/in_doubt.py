"""Whether a write that was begun may be in the chart without confirmation. Pure.

A write is in doubt from its first byte (or it came in doubt from the ledger), whatever happens then, our own defects included.
A definite response or a complete search of the chart ends the doubt. Until then the operation is never due to be sent: the
chart is searched, or a person decides.
"""

from __future__ import annotations

from schemas.operation import Operation, State
from streams.delivery.verdict import Verdict


class InDoubtWrite:
    """The doubt about one operation during one attempt."""

    def __init__(self, operation: Operation) -> None:
        self.is_open = operation.state is State.UNKNOWN
        self.cause = operation.code if self.is_open else None
        self._was_open = self.is_open

    def begin(self) -> None:
        """The first byte of a write leaves now."""
        self.is_open = True

    def resolve_by_response(self, verdict: Verdict) -> None:
        """The EHR responded, or the request was never sent: definite, unless the table calls it ambiguous."""
        self.is_open = verdict.state is State.UNKNOWN
        self.cause = verdict.code
        self._was_open |= self.is_open

    def resolve_by_search(self) -> None:
        """A complete search shows what is in the chart. That the write had been ambiguous is still remembered."""
        self.is_open = False

    @property
    def remains(self) -> bool:
        """Whether the operation counts as one that may have been written under the patient's id of that time."""
        return self._was_open or self.is_open

    def restrict(self, verdict: Verdict) -> Verdict:
        """The verdict, but with the chart searched before any retry as long as the write is in doubt."""
        if not self.is_open or verdict.state is not State.DEFERRED:
            return verdict
        return verdict._replace(state=State.UNKNOWN, code=self.cause)
