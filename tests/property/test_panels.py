"""Joining panels: any arrival order and repetition gives each result once and whole, and never passes what it holds."""

from hypothesis import given
from hypothesis import strategies as st

from streams.clinical.panels import HOLD_MS, Arrived, Group, PanelJoiner
from tests.doubles.windows import CLOSED_MS, pressure, record, window

MINUTES = 4


def arrivals() -> st.SearchStrategy[list]:
    """Members of a few panels, each at least once, shuffled, among other vitals."""
    everything = [member for minute in range(MINUTES) for member in pressure(minute=minute)]
    others = [window(minute=minute) for minute in range(MINUTES)]
    repeats = st.lists(st.sampled_from(everything), max_size=6)
    return repeats.flatmap(lambda again: st.permutations([*everything, *others, *again]))


def taken(joiner: PanelJoiner, windows: list, first: int = 0) -> list[Group]:
    groups = [joiner.take(Arrived(w, record(w, first + at))) for at, w in enumerate(windows)]
    return [group for group in groups if group is not None]


@given(arrivals())
def test_every_panel_is_joined_exactly_once_with_systolic_first(windows: list):
    joiner = PanelJoiner()
    panels = [group for group in taken(joiner, windows) if len(group) > 1]
    assert [tuple(a.window.type for a in group) for group in panels] == [("systolic_bp", "diastolic_bp")] * MINUTES
    assert len({group[0].window.window_id for group in panels}) == MINUTES
    assert joiner.earliest_held() is None


@given(arrivals(), st.data())
def test_reading_again_from_what_was_held_joins_what_was_not_joined_before(windows: list, data: st.DataObject):
    crash = data.draw(st.integers(0, len(windows)))
    before = PanelJoiner()
    done = taken(before, windows[:crash])
    held = before.earliest_held()
    restart = crash if held is None else held
    done += taken(PanelJoiner(), windows[restart:], first=restart)
    joined = {group[0].window.window_id for group in done if len(group) > 1}
    assert joined == {pressure(minute=minute)[0].window_id for minute in range(MINUTES)}


@given(st.integers(0, 2 * HOLD_MS))
def test_a_lone_member_is_given_up_only_when_the_log_went_on_for_the_hold(later_ms: int):
    joiner = PanelJoiner()
    systolic, _ = pressure()
    taken(joiner, [systolic])
    lone = joiner.overdue(CLOSED_MS + later_ms)
    assert [[a.window for a in group] for group in lone] == ([[systolic]] if later_ms >= HOLD_MS else [])


def test_a_member_that_closed_alone_is_a_result_at_once():
    systolic = window("systolic_bp", 120)
    assert [[a.window for a in group] for group in taken(PanelJoiner(), [systolic])] == [[systolic]]
