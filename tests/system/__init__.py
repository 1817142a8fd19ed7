"""The whole system as processes, a recorded ward to play to it, and checks of what came of it that know nothing of it."""

import pytest

pytest.register_assert_rewrite("tests.system.chart_checks", "tests.system.installation")
