"""Memory that runs out halves a batch; no token of an answer is drawn twice, whatever changed."""

import asyncio

import pytest

pytest.importorskip("transformers")
import torch

from guardrail.errors import UpstreamError
from guardrail.types import picture_chat
from guardrail.upstreams.local_memory import RowLimit, is_out_of_memory
from guardrail.upstreams.transformers_local import TransformersLocal

ROWS = 7
TOKENS = 6


class Device:
    """A device that holds at most `most` rows, and looks at that from its pass `after` on.

    It rounds in another way for batches that fit: a logit of each row is moved with the number of
    rows, as batched arithmetic in a short type may do.
    """

    def __init__(self, model, most, after=0, rounding=0.0, error=torch.OutOfMemoryError):
        self.most, self.after, self.rounding, self.error = most, after, rounding, error
        self.passes = 0
        self.sizes = []
        self._before = model.register_forward_pre_hook(self.look, with_kwargs=True)
        self._behind = model.register_forward_hook(self.round)

    def look(self, _model, args, kwargs):
        ids = kwargs.get("input_ids", *args)
        self.passes = self.passes + 1 if ids.shape[1] == 1 else 0
        self.sizes.append(len(ids))
        if len(ids) > self.most and self.passes >= self.after:
            raise self.error("out of memory, with a prompt in the message")

    def round(self, _model, _args, output):
        if self.rounding and len(output.logits) <= self.most:
            shift = torch.arange(output.logits.shape[-1]) * self.rounding
            output.logits = output.logits + torch.sin(shift)

    def remove(self):
        self._before.remove()
        self._behind.remove()


def run(folder, scenario, **options):
    async def main():
        upstream = TransformersLocal(str(folder), device="cpu", **options)
        try:
            return await scenario(upstream)
        finally:
            await upstream.aclose()

    return asyncio.run(main())


async def ask(upstream, picture, count=ROWS, **parameters):
    parameters = {"max_tokens": TOKENS, "temperature": 1, **parameters}
    chat = picture_chat("any", "what is this?", parameters)
    worker = upstream._worker
    calls = [
        asyncio.ensure_future(upstream.complete(chat, [picture], seed=seed))
        for seed in range(count)
    ]
    with worker._changed:  # it looks for work when all are there, and so finds one batch
        for _ in range(10 * count):
            await asyncio.sleep(0)
        assert len(worker._jobs) == count
    return [answer.text for answer in await asyncio.gather(*calls)]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("parameters", [{}, {"temperature": 0}, {"stop": "word1"}])
def test_halves_answer_as_the_whole_batch_would(tiny_llava_next, noise_picture, after, parameters):
    async def scenario(upstream):
        model, picture = upstream.load().model, noise_picture()
        whole = await ask(upstream, picture, **parameters)
        device = Device(model, most=2, after=after)
        halved = await ask(upstream, picture, **parameters)
        device.remove()
        return whole, halved, device.sizes

    whole, halved, sizes = run(tiny_llava_next, scenario)
    assert whole == halved
    assert {7, 1, 2} <= set(sizes)


def test_tokens_drawn_before_the_fault_are_kept_where_rounding_would_change_them(
    tiny_llava_next, noise_picture
):
    """Else a fault that long, harmful answers cause would have them drawn anew."""
    kept = 3

    async def scenario(upstream):
        model, picture = upstream.load().model, noise_picture()
        first = await ask(upstream, picture)
        device = Device(model, most=4, rounding=3.0)
        other = await ask(upstream, picture, count=4)
        device.remove()
        device = Device(model, most=4, after=kept, rounding=3.0)
        halved = await ask(upstream, picture)
        device.remove()
        return first, other, halved

    first, other, halved = run(tiny_llava_next, scenario)
    heads = [[text.split()[:kept] for text in texts] for texts in (first, other, halved)]
    assert heads[0] == heads[2]
    assert heads[0][:4] != heads[1]  # else rounding changes nothing, and this says nothing
    assert first != halved


def test_what_did_not_fit_is_not_tried_again(tiny_llava_next, noise_picture, caplog):
    async def scenario(upstream):
        device = Device(upstream.load().model, most=3)
        await ask(upstream, noise_picture())
        tried = len(device.sizes)
        await ask(upstream, noise_picture())
        device.remove()
        return device.sizes[tried:]

    assert max(run(tiny_llava_next, scenario)) <= 3
    assert "max_batch" in caplog.text


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_one_row_that_does_not_fit_is_a_fault_that_may_pass(tiny_llava_next, noise_picture, error):
    async def scenario(upstream):
        device = Device(upstream.load().model, most=0, error=error)
        with pytest.raises(UpstreamError, match="memory") as caught:
            await ask(upstream, noise_picture(), count=1)
        device.remove()
        return caught.value

    fault = run(tiny_llava_next, scenario)
    assert fault.transient
    assert "prompt in" not in str(fault)


def test_other_faults_do_not_halve(tiny_llava_next, noise_picture):
    async def scenario(upstream):
        device = Device(upstream.load().model, most=0, error=ValueError)
        with pytest.raises(UpstreamError):
            await ask(upstream, noise_picture())
        device.remove()
        return device.sizes

    assert run(tiny_llava_next, scenario) == [7]
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 do not match"))


def test_a_long_prompt_that_did_not_fit_leaves_short_ones_their_places():
    limit = RowLimit()
    assert not limit.is_narrow
    assert limit.most_rows(1000, 64) == 64
    limit.narrow(4, 8000)
    assert limit.is_narrow
    assert [limit.most_rows(tokens, 64) for tokens in (8000, 1000, 100, 99_999)] == [4, 32, 64, 1]
    limit.narrow(32, 8000)
    assert limit.most_rows(8000, 64) == 4


def test_the_type_that_is_asked_for_is_part_of_the_revision(tiny_llava_next):
    plain, short = (
        TransformersLocal(str(tiny_llava_next), device="cpu", dtype=dtype)
        for dtype in (None, "bfloat16")
    )
    assert short.revision == f"{plain.revision}-bfloat16"
    assert str(short.load().model.dtype) == "torch.bfloat16"
