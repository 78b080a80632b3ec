"""Every scenario through the proxy and the middleware: the same verdicts and the same records."""

import pytest

from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.stage import stage

each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)


@each
def test_the_middleware_decides_as_the_proxy_does(scenario):
    with stage(scenario) as played:
        if scenario.error is None:
            completion = played.guard.complete_sync(scenario.request)
            message = completion["choices"][0]["message"]
            assert message["content"] == scenario.text
            assert bool(message.get("tool_calls")) == scenario.tools
        else:
            with pytest.raises(scenario.error):
                played.guard.complete_sync(scenario.request)
        played.check()
