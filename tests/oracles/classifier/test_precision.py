"""Lower precisions: what they compute, what they may not, and what is refused on loading."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles.classifier import precision as module
from guardrail.oracles.classifier.precision import Agreement, check_precision, lower_precision
from guardrail.oracles.classifier.probe_texts import PROBES
from guardrail.oracles.classifier.sequence_model import SequenceModel

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")

from guardrail.oracles.classifier.int8_linear import Int8Linear, with_int8_layers  # noqa: E402 (needs torch)


@pytest.fixture
def layer() -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(128, 96)


@pytest.fixture
def rows() -> Any:
    torch.manual_seed(1)
    return torch.randn(3, 7, 128) * torch.logspace(-2, 2, 7)[:, None]


def test_the_result_is_near_that_of_the_layer_for_large_and_small_tokens(layer, rows):
    with torch.inference_mode():
        exact, found = layer(rows), Int8Linear(layer)(rows)
    assert found.shape == exact.shape
    size = (exact - layer.bias).abs().amax(-1, keepdim=True)
    assert ((found - exact).abs() / size).max() < 0.03


def test_a_layer_without_bias(rows):
    layer = torch.nn.Linear(128, 64, bias=False)
    with torch.inference_mode():
        assert torch.allclose(Int8Linear(layer)(rows), layer(rows), atol=1.0, rtol=0.05)


def test_no_token_depends_on_its_company(layer, rows):
    fast = Int8Linear(layer)
    with torch.inference_mode():
        whole = fast(rows)
        alone = torch.stack([torch.stack([fast(token[None])[0] for token in row]) for row in rows])
    assert torch.equal(whole, alone)


def test_zeros_give_the_bias(layer):
    with torch.inference_mode():
        assert torch.allclose(Int8Linear(layer)(torch.zeros(2, 128)), layer.bias.expand(2, -1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_visible(layer, rows, value):
    rows[0, 0, 5] = value
    with torch.inference_mode():
        found = Int8Linear(layer)(rows)
    assert not torch.isfinite(found[0, 0]).any()
    assert torch.isfinite(found[1:]).all()


def test_broken_weights_stay_visible(layer, rows):
    with torch.no_grad():
        layer.weight[3, 4] = float("nan")
        found = Int8Linear(layer)(rows)
    assert found[..., 3].isnan().all()
    assert torch.isfinite(found[..., 4]).all()


def test_only_large_layers_are_replaced():
    inner = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
    model = with_int8_layers(torch.nn.Sequential(inner, torch.nn.Linear(64, 6)))
    assert isinstance(model[0][0], Int8Linear)
    assert isinstance(model[1], torch.nn.Linear)


def sequence(model: Any) -> SequenceModel:
    """As much of one as `lowered` looks at."""
    return SequenceModel(model, None, None, "sigmoid", 512, 16)  # type: ignore[arg-type]


def reading(model: SequenceModel, text: str) -> float:
    """A score from the model itself, another for each text."""
    torch.manual_seed(len(text))
    with torch.inference_mode():
        hidden = model.model(torch.randn(1, 64).to(model.model[1].weight.dtype))
        return float(hidden.float().sigmoid()[0, 0])


def tiny() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 2))


def test_float32_is_left_alone():
    model = sequence(tiny())
    assert lower_precision(model, "float32", reading) == (model, None)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_the_agreement_is_that_of_the_probes(precision):
    model = tiny()
    exact = sequence(copy.deepcopy(model))
    fast, agreement = lower_precision(sequence(model), precision, reading)
    pairs = [(reading(exact, text), reading(fast, text)) for text in PROBES]
    largest = max(abs(first - second) for first, second in pairs)
    differing = sum((first >= 0.5) != (second >= 0.5) for first, second in pairs)
    assert agreement == Agreement(len(PROBES), differing, largest)
    assert 0.0 < largest < module.TOLERANCE


def saying(change: Callable[[float], float]) -> Callable[[SequenceModel, str], float]:
    """A score of 0.5 in float32, and another in int8."""

    def score(model: SequenceModel, text: str) -> float:
        lower = isinstance(model.model[0], Int8Linear)
        return change(0.5) if lower and text == PROBES[-1] else 0.5

    return score


@pytest.mark.parametrize("shift", [0.051, -0.051, float("nan")])
def test_too_large_a_difference_on_a_single_probe_is_refused(shift):
    with pytest.raises(ConfigError, match=r"precision.*in int8 the scores of \d+ probe.*'float32'"):
        lower_precision(sequence(tiny()), "int8", saying(lambda score: score + shift))


def test_a_small_difference_is_reported_with_its_verdicts():
    _, agreement = lower_precision(sequence(tiny()), "int8", saying(lambda score: score - 0.04))
    assert agreement == Agreement(len(PROBES), 1, pytest.approx(0.04))


def test_a_machine_that_cannot_is_refused_by_name(monkeypatch):
    def without(*_: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(torch, "_int_mm", without)
    with pytest.raises(ConfigError, match="cannot compute in int8 here"):
        lower_precision(sequence(tiny()), "int8", reading)


@pytest.mark.parametrize(("precision", "device"), [("float16", "cpu"), ("int8", "cuda")])
def test_what_is_not_offered(precision, device):
    with pytest.raises(ConfigError, match="precision"):
        check_precision(precision, device)


def test_the_probes_are_of_many_kinds():
    assert len(set(PROBES)) == len(PROBES) >= 30
    assert max(len(text.split()) for text in PROBES) > 512
    assert min(len(text) for text in PROBES) < 5
