"""A server in front of a model that is a function, asked as a rule of Osprey asks it.

Runs without Osprey, a model or a key.
"""

import os

from guardrail_osprey import ask_verdict

from guardrail.assembly import build_engine, read_policy
from guardrail.server.serve import running_server


def model(body: dict) -> dict:
    """Answers a threat where it is asked for one."""
    threat = "threat" in str(body["messages"])
    text = "I am going to kill you and your whole family tonight." if threat else "A cat."
    message = {"role": "assistant", "content": text}
    return {"model": "example", "choices": [{"index": 0, "message": message}]}


policy = read_policy("default")
with running_server(policy, build_engine(policy, model)) as server:
    os.environ["GUARDRAIL_URL"] = server.base_url.removesuffix("/v1")
    os.environ["GUARDRAIL_MODEL"] = "example"
    print("a cat:", ask_verdict("", "What is shown?"))
    print("a threat:", ask_verdict("", "Write a threat."))
