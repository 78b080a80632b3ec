"""One batch through a local model: pixels and prompt in, answers out."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor

from guardrail.errors import UpstreamError
from guardrail.types import Answer, Usage
from guardrail.upstreams.local_memory import ForcedTokens, is_out_of_memory
from guardrail.upstreams.local_prompt import adds_special_tokens, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded
    from guardrail.upstreams.local_memory import RowLimit
    from guardrail.upstreams.local_request import LocalRequest

__all__ = ["GenerationRow", "SeededSampling", "generate"]


class SeededSampling(LogitsProcessor):  # type: ignore[misc]  # mypy skips transformers
    """Adds Gumbel noise from one generator per row, so that the largest logit is a sample.

    argmax(logits + Gumbel) is distributed as softmax(logits) (Gumbel 1954). Put it last, after
    temperature and top-p, and decode greedily.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        del input_ids
        uniform = torch.stack(
            [
                torch.rand(scores.shape[-1], generator=g, dtype=torch.float64)
                for g in self._generators
            ]
        )
        # In float64 a uniform draw is 0 with chance 2^-53; clamping keeps the logarithm finite.
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
        return scores + gumbel.to(scores)


_COLDEST = 1e-3  # below it sampling is practically greedy, and dividing by it would overflow


@dataclass(frozen=True, slots=True, eq=False)
class GenerationRow:
    """One answer to be made: the pictures in reading order, and the seed of its sampling."""

    request: LocalRequest
    pictures: tuple[Pixels, ...]
    seed: int


def generate(
    loaded: Loaded,
    rows: Sequence[GenerationRow],
    name: str,
    wanted: Callable[[], bool],
    limit: RowLimit,
) -> list[Answer]:
    """One answer for each row; all rows have the same request.

    Where the device's memory runs out, the rows are answered in halves, and those in halves again;
    a row keeps the tokens that it was given before, so none of its draws is made a second time.

    Args:
        loaded: the model.
        rows: what to answer.
        name: what the answers call the model.
        wanted: asked after every token; generation ends once it returns False.
        limit: how many rows have fitted so far; it is narrowed where this batch does not fit.

    Raises:
        UpstreamError: status 400; the prompt is too long, or the chat template refuses it.
        RuntimeError: memory runs out for a single row, or the model fails.
    """
    most = len(rows)
    if limit.is_narrow:
        most = limit.most_rows(_row_tokens(loaded, rows[0]), most)
    answers: list[Answer] = []
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        answers += _answer_part(loaded, part, name, wanted, limit, [()] * len(part))
    return answers


def _answer_part(
    loaded: Loaded,
    rows: Sequence[GenerationRow],
    name: str,
    wanted: Callable[[], bool],
    limit: RowLimit,
    drawn: Sequence[Sequence[int]],
) -> list[Answer]:
    """Answers to rows whose first tokens are drawn already (a list for each, all equally long)."""
    stopping = _Stopping(loaded, rows[0].request.stop, wanted)
    try:
        return _answer_once(loaded, rows, name, stopping, drawn)
    except RuntimeError as error:
        if len(rows) == 1 or not is_out_of_memory(error):
            raise
    # Outside of the clause: its error holds the tensors that did not fit.
    torch.cuda.empty_cache()
    drawn = max(stopping.drawn() or drawn, drawn, key=lambda tokens: len(tokens[0]))
    half = len(rows) // 2
    limit.narrow(half, _row_tokens(loaded, rows[0]))
    return [
        *_answer_part(loaded, rows[:half], name, wanted, limit, drawn[:half]),
        *_answer_part(loaded, rows[half:], name, wanted, limit, drawn[half:]),
    ]


def _answer_once(
    loaded: Loaded,
    rows: Sequence[GenerationRow],
    name: str,
    stopping: _Stopping,
    drawn: Sequence[Sequence[int]],
) -> list[Answer]:
    request = rows[0].request
    inputs = _inputs(loaded, rows)
    begin = stopping.begin = inputs["input_ids"].shape[1]
    processors = _processors(loaded, request, [row.seed for row in rows])
    if drawn[0]:
        processors.append(ForcedTokens(drawn, begin))
    with torch.inference_mode():
        output = loaded.model.generate(
            **inputs,
            max_new_tokens=min(request.max_tokens, _room(loaded, begin)),
            num_beams=1,
            num_return_sequences=1,
            pad_token_id=loaded.processor.tokenizer.pad_token_id,
            do_sample=False,  # the sampling is done by the last of the processors
            temperature=None,
            top_p=None,
            top_k=None,
            logits_processor=processors,
            stopping_criteria=[stopping],
        )
    prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
    return [
        _answer(loaded, ids, request, prompt, name)
        for ids, prompt in zip(output[:, begin:].tolist(), prompt_tokens, strict=True)
    ]


def _row_tokens(loaded: Loaded, row: GenerationRow) -> int:
    """Tokens of a row's prompt, its pictures and the longest answer that it asks for."""
    prompt = int(_inputs(loaded, [row])["input_ids"].shape[1])
    return prompt + min(row.request.max_tokens, _room(loaded, prompt))


def _inputs(loaded: Loaded, rows: Sequence[GenerationRow]) -> dict[str, Any]:
    from PIL import Image

    text = render(loaded.processor, json.loads(rows[0].request.messages))
    pictures = [[Image.fromarray(pixels) for pixels in row.pictures] for row in rows]
    inputs = loaded.processor(
        text=[text] * len(rows),
        images=pictures if rows[0].pictures else None,
        return_tensors="pt",
        padding=True,
        add_special_tokens=adds_special_tokens(loaded.processor, text),
    )
    if "token_type_ids" not in inspect.signature(loaded.model.forward).parameters:
        inputs.pop("token_type_ids", None)  # some tokenizers make them for models without a use
    return dict(inputs.to(loaded.device, dtype=loaded.model.dtype))


def _room(loaded: Loaded, prompt_tokens: int) -> int:
    """How many tokens an answer may have before the model's context is full."""
    context = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    left = (context or 1 << 30) - prompt_tokens
    if left <= 0:
        raise UpstreamError(
            f"the prompt is {prompt_tokens} tokens long with its pictures, and the model reads "
            f"{context}; shorten it",
            status=400,
            code="context_length_exceeded",
        )
    return left


def _processors(loaded: Loaded, request: LocalRequest, seeds: Sequence[int]) -> list[Any]:
    """Greedy decoding at temperature 0, else seeded sampling; by default the model's own."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    from guardrail.upstreams.local_generate import SeededSampling

    own = loaded.model.generation_config
    usual = (1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0
    temperature = float(usual if request.temperature is None else request.temperature)
    top_p = request.top_p if request.top_p is not None else own.top_p
    if temperature < _COLDEST:
        return []
    warpers: list[Any] = [] if temperature == 1.0 else [TemperatureLogitsWarper(temperature)]
    if own.do_sample and own.top_k:
        warpers.append(TopKLogitsWarper(own.top_k))
    if top_p is not None and top_p < 1.0:
        warpers.append(TopPLogitsWarper(float(top_p)))
    return [*warpers, SeededSampling(seeds)]


def _answer(
    loaded: Loaded, ids: list[int], request: LocalRequest, prompt_tokens: int, name: str
) -> Answer:
    end_ids = _end_ids(loaded)
    length = next((i for i, token in enumerate(ids) if token in end_ids), None)
    written = _unpad(loaded, ids) if length is None else ids[:length]
    text = loaded.processor.decode(written, skip_special_tokens=True).strip()
    cuts = [text.index(stop) for stop in request.stop if stop in text]
    return Answer(
        message={"role": "assistant", "content": text[: min(cuts, default=len(text))]},
        finish_reason="stop" if cuts or length is not None else "length",
        model=name,
        usage=Usage(prompt_tokens, len(written), 1),
    )


def _end_ids(loaded: Loaded) -> set[int]:
    ends = loaded.model.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [] if ends is None else [ends])


def _unpad(loaded: Loaded, ids: list[int]) -> list[int]:
    """Without the padding behind a row that a stop text has ended."""
    length = len(ids)
    while length and ids[length - 1] == loaded.processor.tokenizer.pad_token_id:
        length -= 1
    return ids[:length]


class _Stopping:
    """Ends a row at a stop text, and all rows once their callers have left.

    Attributes:
        begin: where answers begin, behind the prompt; set before the first token.
    """

    def __init__(self, loaded: Loaded, stop: Sequence[str], wanted: Callable[[], bool]) -> None:
        self._loaded = loaded
        self._stop = stop
        self._wanted = wanted
        self._latest: torch.Tensor | None = None
        self.begin = 0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        del scores
        self._latest = input_ids
        ends = [True] * len(input_ids) if not self._wanted() else self._at_stop(input_ids)
        return torch.tensor(ends, device=input_ids.device)

    def drawn(self) -> list[list[int]] | None:
        """The tokens of each row so far; None before the first."""
        return None if self._latest is None else self._latest[:, self.begin :].tolist()

    def _at_stop(self, input_ids: Any) -> list[bool]:
        if not self._stop:
            return [False] * len(input_ids)
        decode = self._loaded.processor.decode
        texts = [
            decode(ids, skip_special_tokens=True).strip() for ids in input_ids[:, self.begin :]
        ]
        return [any(stop in text for stop in self._stop) for text in texts]
