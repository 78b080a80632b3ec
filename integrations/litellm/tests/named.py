"""The scenarios as litellm's provider asks for them: by litellm's own name of the model."""

import dataclasses

from guardrail.testing.scenarios import SCENARIOS, Scenario


class Named(Scenario):
    """A scenario that asks for the model by litellm's name of it."""

    @property
    def request(self):
        return {**super().request, "model": "openai/scripted"}


NAMED = {
    s.name: Named(**{f.name: getattr(s, f.name) for f in dataclasses.fields(s)}) for s in SCENARIOS
}
