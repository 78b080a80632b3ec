"""Packed bfloat16 layers: the very numbers of the plain ones, in any shape."""

import copy

import pytest

torch = pytest.importorskip("torch")

from guardrail.oracles.packed_linear import (  # noqa: E402 (needs torch)
    PackedLinear,
    can_pack,
    with_packed_layers,
)

needs_packing = pytest.mark.skipif(not can_pack("cpu"), reason="no bfloat16 unit here")


@needs_packing
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(128,), (1, 128), (5, 128), (2, 7, 128)])
def test_the_numbers_are_those_of_the_plain_layer(bias, shape):
    torch.manual_seed(0)
    layer = torch.nn.Linear(128, 96, bias=bias).bfloat16()
    x = torch.randn(shape).bfloat16()
    with torch.inference_mode():
        found = PackedLinear(layer)(x)
        assert torch.allclose(found, layer(x), rtol=0.02, atol=0.02)
    assert found.shape == (*shape[:-1], 96)


@needs_packing
def test_what_is_not_finite_stays_visible():
    layer = torch.nn.Linear(64, 64).bfloat16()
    with torch.inference_mode():
        assert PackedLinear(layer)(torch.full((1, 64), float("nan")).bfloat16()).isnan().all()


@needs_packing
def test_large_layers_are_replaced_wherever_they_are_and_small_ones_stay():
    inner = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 2))
    model = torch.nn.Sequential(inner, torch.nn.Linear(2, 64)).bfloat16()
    before = copy.deepcopy(model)
    x = torch.randn(3, 64).bfloat16()
    with torch.inference_mode():
        found = with_packed_layers(model)(x)
        assert torch.allclose(found, before(x), rtol=0.02, atol=0.02)
    assert [type(layer).__name__ for layer in inner] == ["PackedLinear", "Linear"]


def test_only_a_processor_packs():
    assert not can_pack("cuda")
    assert not can_pack("meta")
