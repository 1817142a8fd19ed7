"""What an endpoint may be configured to: a time-out within which a lease still leaves time to send."""

import pytest
from pydantic import ValidationError

from schemas.capabilities import Capabilities
from streams.delivery.role import Pace

LONGEST_TIMEOUT_S = 60.0


def test_the_longest_timeout_leaves_most_of_a_minute_of_a_lease_to_begin_sending() -> None:
    assert Pace().lease_s - 3 * Capabilities(timeout_s=LONGEST_TIMEOUT_S).timeout_s >= 50


def test_a_timeout_with_which_nothing_would_ever_be_sent_is_refused() -> None:
    with pytest.raises(ValidationError):
        Capabilities(timeout_s=LONGEST_TIMEOUT_S + 0.1)
