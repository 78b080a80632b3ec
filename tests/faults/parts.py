"""A proxy whose parts a test kills: everything real but the oracle."""

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from guardrail.api.deployment import fixed_deployment
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.assembly import build_engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import memory_rules
from guardrail.records.open import open_journal
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.app import create_deployed_app
from guardrail.server.serve import running_app
from guardrail.sharing.connection import SharedRedis
from guardrail.sharing.key_limits import RedisLimits
from guardrail.sharing.ledger import RedisLedger
from guardrail.sharing.verdict_store import RedisVerdictStore
from guardrail.upstreams.scripted_server import scripted_server
from tests.server.conftest import Words, make_policy, request

KEY = NoiseKey(bytes(range(32)))


@dataclass
class Proxy:
    client: httpx.AsyncClient
    oracle: Words
    close_model: Any
    service: Service
    model: Any

    async def ask(self, number=0, *, secret=None):
        """(status, code) of a question about a picture."""
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        body = request(1, prompt=f"{number}")
        answer = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        error = answer.json().get("error")
        return answer.status_code, None if error is None else error["code"]


@contextmanager
def _recorder(engine, url):
    journal = open_journal(url, lock_wait_s=0.5)
    writer = RecordWriter(journal)
    try:
        yield Recorder(writer, engine)
    finally:
        writer.close()
        journal.close()


@asynccontextmanager
async def guarded(script=("A picture.",), *, redis=None, records=None, keys=None, **policy):
    """The proxy, with what processes share in Redis, or records in a database."""
    async with AsyncExitStack() as stack:
        model_stack = await stack.enter_async_context(AsyncExitStack())
        model = await model_stack.enter_async_context(scripted_server(list(script)))
        made, oracle = make_policy(**policy), Words()
        engine = build_engine(made, f"openai_compatible:{model.base_url}", KEY, oracle=oracle)
        options = {}
        if redis is not None:
            way = SharedRedis(redis.url, KEY, timeout_s=0.5)
            stack.push_async_callback(way.aclose)
            options["ledger"] = RedisLedger(way)
            options["store"] = RedisVerdictStore(way, memory_rules(made))
            options["limits"] = limits = RedisLimits(way)
            stack.push_async_callback(limits.aclose)
        record = None if records is None else stack.enter_context(_recorder(engine, records))
        service = Service(made, engine, ServerSettings(probe_cache_s=0.0), record, **options)
        app = create_deployed_app(fixed_deployment(service), keys=keys)
        server = await stack.enter_async_context(running_app(app))
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False)
        )
        yield Proxy(client, oracle, model_stack.aclose, service, model)
