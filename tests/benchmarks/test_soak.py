"""Two replicas on real PostgreSQL and Redis for some seconds: Redis is killed, then one of them.

The whole run, with all that is killed in it, is `benchmarks/soak/run.py`; its laws are the same.
"""

import pytest

from tests.postgres import MISSING as POSTGRES_MISSING
from tests.postgres import find_binaries
from tests.redis_server import MISSING as REDIS_MISSING
from tests.redis_server import find_redis


@pytest.mark.nightly  # `tests/cli/test_replicas.py` kills Redis below two replicas by day
@pytest.mark.skipif(find_binaries() is None, reason=POSTGRES_MISSING)
@pytest.mark.skipif(find_redis() is None, reason=REDIS_MISSING)
def test_two_replicas_hold_every_law_while_redis_and_one_of_them_are_killed(script, tmp_path):
    soak = script("soak", "run")
    run, found = soak.soak(12 / 60, 8, tmp_path, plan=soak.SHORT)
    laws = {law: times for part in found.values() if isinstance(part, dict)
            for law, times in part.get("broken", {}).items()}  # fmt: skip
    assert len(laws) >= 16
    assert {law: times for law, times in laws.items() if times} == {}, found["records"]
    assert found["answers"]["arrived"] > 0  # else nothing was shown
    assert found["written"]["requests_in_the_logs"] > 0
    outcomes = found["traffic"]["outcomes"]
    assert {"pass"} <= set(outcomes["harmless text"]) <= {"pass", "block", "fault", "lost", "left"}
    assert "pass" not in outcomes.get("forbidden", {})
    assert [words for _, words in run.events if "kill" in words.lower()] == [
        "Redis killed", "SIGKILL to b",
    ]  # fmt: skip
