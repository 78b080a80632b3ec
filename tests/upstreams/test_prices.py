"""Prices of tokens: tiers, whose price counts, and litellm's list read without litellm."""

import subprocess
import sys

import pytest

from guardrail.types import Answer, Usage
from guardrail.upstreams.litellm_prices import litellm_prices, price_from
from guardrail.upstreams.prices import ANY_MODEL, Price, PriceBook, Tier

CHEAP = Price((Tier(0, 1e-6, 2e-6),))
DEAR = Price((Tier(0, 1e-5, 2e-5),))


def answer(model="", prompt=1000, completion=100):
    return Answer({"content": "x"}, model=model, usage=Usage(prompt, completion, 1))


def test_tokens_times_their_price():
    assert CHEAP.cost_usd(Usage(1000, 100, 1)) == pytest.approx(1000e-6 + 200e-6)


def test_long_prompts_have_their_own_price():
    price = Price((Tier(0, 1e-6, 1e-6), Tier(200_000, 2e-6, 3e-6)))
    assert price.cost_usd(Usage(199_999, 0, 1)) == pytest.approx(0.199999)
    assert price.cost_usd(Usage(200_000, 10, 1)) == pytest.approx(0.4 + 3e-5)


def test_the_model_that_answered_counts_before_the_name_it_was_asked_under():
    book = PriceBook(known={"cheap": CHEAP, "dear": DEAR})
    assert book.cost_usd(answer("dear"), "cheap") == DEAR.cost_usd(Usage(1000, 100, 1))
    assert book.cost_usd(answer("unknown"), "cheap") == CHEAP.cost_usd(Usage(1000, 100, 1))
    assert book.cost_usd(answer("unknown"), "nothing") is None


def test_the_policy_s_price_wins_and_the_star_comes_last():
    book = PriceBook({"alias": DEAR, ANY_MODEL: CHEAP}, {"real": CHEAP, "alias": CHEAP})
    assert book.find("real", "alias") is DEAR
    assert book.find("real") is CHEAP
    assert book.find("else") is CHEAP


def test_litellm_s_list():
    prices = litellm_prices()
    assert len(prices) > 1000
    assert prices["gpt-4o"].tiers[0].input_usd == pytest.approx(2.5e-6)
    tiered = prices["gemini/gemini-2.5-pro"]
    assert [tier.above for tier in tiered.tiers] == [0, 200_000]
    assert tiered.tiers[1].input_usd > tiered.tiers[0].input_usd
    assert all(price.tiers[0].above == 0 for price in prices.values())


def test_reading_it_does_not_import_litellm():
    code = (
        "import sys; from guardrail.upstreams.litellm_prices import litellm_prices; "
        "assert litellm_prices(); assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "price",
        {},
        {"input_cost_per_token": 1e-6},
        {"input_cost_per_token": "1e-6", "output_cost_per_token": 1e-6},
        {"input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6},
        {"input_cost_per_second": 1e-6},
    ],
)
def test_what_has_no_price_by_tokens_is_left_out(entry):
    assert price_from(entry) is None


def test_without_litellm_there_are_no_published_prices(monkeypatch):
    litellm_prices.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert litellm_prices() == {}
    litellm_prices.cache_clear()


def test_a_list_that_cannot_be_read_is_no_list(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    litellm_prices.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: Spec)
    assert litellm_prices() == {}
    litellm_prices.cache_clear()
