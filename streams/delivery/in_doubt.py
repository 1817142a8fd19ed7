"""Whether a write may be in the chart without confirmation. Pure.

A write is in doubt from its first byte, or because the ledger already marks it as in doubt. A definite response or a complete
search of the chart resolves the doubt; errors, including our own defects, do not. Until then the operation is never sent
again: the chart is searched, or the operation is held for manual review.
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
        """The first byte of a write is about to be sent."""
        self.is_open = True

    def resolve_by_response(self, verdict: Verdict) -> None:
        """The EHR responded, or the request was never sent: definite, unless the table calls it ambiguous."""
        self.is_open = verdict.state is State.UNKNOWN
        self.cause = verdict.code
        self._was_open |= self.is_open

    def resolve_by_search(self) -> None:
        """A complete search showed what is in the chart. The ledger still records that the write was ambiguous."""
        self.is_open = False

    @property
    def remains(self) -> bool:
        """Whether the operation may have been written under the patient's id at that time."""
        return self._was_open or self.is_open

    def restrict(self, verdict: Verdict) -> Verdict:
        """The verdict, changed so that the chart is searched before any retry while the write is in doubt."""
        if not self.is_open or verdict.state is not State.DEFERRED:
            return verdict
        return verdict._replace(state=State.UNKNOWN, code=self.cause)
