"""Whether a write that was begun may stand in the chart without anybody knowing. Pure.

Doubt opens when the first byte of a write goes out (or came with the operation), whatever happens then, our own defects
included. It closes with a definite answer, or a complete search of the chart. An operation with open doubt is never due to
be sent: it is searched for, or a person decides.
"""

from __future__ import annotations

from schemas.operation import Operation, State
from streams.delivery.verdict import Verdict


class Doubt:
    """The doubt about one operation during one attempt."""

    def __init__(self, operation: Operation) -> None:
        self.is_open = operation.state is State.UNKNOWN
        self.cause = operation.code if self.is_open else None
        self._arose = self.is_open

    def opens(self) -> None:
        """The first byte of a write goes out now."""
        self.is_open = True

    def answered(self, verdict: Verdict) -> None:
        """The EHR answered, or the request never left: it is definite unless the table calls it ambiguous."""
        self.is_open = verdict.state is State.UNKNOWN
        self.cause = verdict.code
        self._arose |= self.is_open

    def searched(self) -> None:
        """A complete search says what stands in the chart. That the write had been ambiguous is still remembered."""
        self.is_open = False

    @property
    def stays(self) -> bool:
        """Whether the operation counts as one that may have been written under the patient's id of that time."""
        return self._arose or self.is_open

    def over(self, verdict: Verdict) -> Verdict:
        """What would be tried again is searched for first, as long as doubt is open."""
        if not self.is_open or verdict.state is not State.DEFERRED:
            return verdict
        return verdict._replace(state=State.UNKNOWN, code=self.cause)
