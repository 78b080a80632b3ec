"""A plain function as an oracle: from an answer's text to True (harmful), False or a score."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from guardrail.batching import Batch, ThreadBatcher
from guardrail.canonical import short_digest
from guardrail.causes import chain_cause
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement
from guardrail.oracles.worker import as_oracle_error
from guardrail.semaphore import FifoSemaphore
from guardrail.types import Outcome
from guardrail.upstreams.function import is_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange, Oracle

__all__ = ["FunctionOracle", "JudgeFunction", "as_oracle", "check_oracle"]

JudgeFunction: TypeAlias = Callable[[str], bool | float | Awaitable[bool | float]]
"""Takes an answer's text; returns whether it is harmful, or a score in [0, 1]. May be async."""


class FunctionOracle:
    """Judges every answer by one call of a function with its text.

    A plain function is called in a thread, one call at a time, so it need not be safe for several
    threads. An async function is awaited on the caller's event loop (the guard's own loop,
    in `Guard`), several calls at a time. Whatever a function raises becomes an OracleError that
    quotes nothing of it and has it as `__cause__`.

    The function may have two attributes. `revision` is a text that changes whenever its verdicts
    can change, so that certificates and calibrations name the oracle that judged; without it the
    function's own source code counts, with the texts and numbers that it captured, but nothing
    that it calls. `by_text = True` says that it always returns the same for the same text; then
    equal answers are judged once, and a call that failed may be repeated.

    Args:
        function: see `JudgeFunction`.
        threshold: answers that score at least this are harmful, in (0, 1). True scores 1, False 0.
        name: what errors and reasons call it; the function's own name if empty.
        max_parallel: most calls of an async function at a time.
        deadline_s: longest that one call of `judge` may take, waiting included.

    Raises:
        ConfigError: the function does not take one text, an option lies outside its range, or
            nothing tells the function from another version of itself.
    """

    cuts_scores = True  # see `cut_of`

    def __init__(
        self,
        function: JudgeFunction,
        *,
        threshold: float = 0.5,
        name: str = "",
        max_parallel: int = 64,
        deadline_s: float = 30.0,
    ) -> None:
        self._name = name or getattr(function, "__name__", type(function).__name__)
        _check_signature(function, self._name)
        if not 0.0 < threshold < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field="threshold")
        self._function: Callable[[str], Any] = function
        self._threshold = threshold
        self._deadline_s = deadline_s
        self._is_async = is_async(function)
        self._by_text = getattr(function, "by_text", False) is True
        self._code = _revision_of(function, self._name)
        self._room = FifoSemaphore(max_parallel)
        self._is_closed = False
        self._worker = ThreadBatcher[str, float | OracleError](
            self._score_batch,
            max_batch=1,
            max_queue=4096,
            name=self._name,
            closed=self._closed_error,
            failed=as_oracle_error,
        )

    @property
    def revision(self) -> str:
        text = f"{self._code}\n{self._threshold!r}"
        return f"function-{short_digest(text, 12)}"

    @property
    def threshold(self) -> float:
        return self._threshold

    @property
    def by_text(self) -> bool:
        """See `goes_by_text`."""
        return self._by_text

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order.

        Raises:
            OracleError: a call raised, returned no verdict, or did not return in time.
        """
        texts = [exchange.response for exchange in exchanges]
        try:
            async with asyncio.timeout(self._deadline_s):
                scores = await self._score_all(texts)
        except TimeoutError as error:
            raise OracleError(
                f"the function '{self._name}' judged nothing within {self._deadline_s:g} s; make "
                "it faster, or lower the load"
            ) from error
        return [self._judgement_of(score) for score in scores]

    async def aclose(self) -> None:
        """Ends the thread; what still waits fails.

        Raises:
            OracleError: a call did not return within the deadline; its thread is left behind.
        """
        self._is_closed = True
        if not await self._worker.aclose(self._deadline_s):
            raise OracleError(f"the function '{self._name}' hangs; its thread could not be ended")

    async def _score_all(self, texts: Sequence[str]) -> list[float | OracleError]:
        if self._is_async:
            return await asyncio.gather(*map(self._await_score, texts))
        return await self._worker.run_all(texts)

    async def _await_score(self, text: str) -> float | OracleError:
        async with self._room.hold():
            if self._is_closed:
                return self._closed_error()
            try:
                return self._score_of(await self._function(text))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                return OracleError(f"the function '{self._name}' cancelled itself")
            except Exception as error:  # noqa: BLE001 (other people's code; its text may quote)
                return self._fault_of(error)

    def _score_batch(self, batch: Batch[str]) -> list[float | OracleError]:
        return [self._score(text) for text in batch.items]

    def _score(self, text: str) -> float | OracleError:
        try:
            return self._score_of(self._function(text))
        except Exception as error:  # noqa: BLE001 (other people's code; its text may quote)
            return self._fault_of(error)

    def _fault_of(self, error: Exception) -> OracleError:
        fault = as_oracle_error(error, f"the function '{self._name}'")
        chain_cause(fault, error)
        return fault

    def _score_of(self, value: object) -> float:
        """The score that a returned value means; scalars of NumPy and torch are what they hold."""
        item = getattr(value, "item", None)
        plain = item() if callable(item) and getattr(value, "shape", None) == () else value
        if isinstance(plain, int | float):
            if 0.0 <= plain <= 1.0:  # NaN fails the comparison
                return float(plain)
            shown = f"the number {plain:g}"
        else:
            shown = f"a value of the type {type(plain).__name__}"
        if inspect.iscoroutine(plain):
            plain.close()
        raise OracleError(
            f"the function '{self._name}' returned {shown}; it must return True (harmful) or "
            "False, or a score from 0 to 1"
        )

    def _judgement_of(self, score: float | OracleError) -> Judgement:
        if isinstance(score, OracleError):
            raise score
        if score >= self._threshold:
            return Judgement(Outcome.HARMFUL, score, f"function {self._name}")
        return Judgement(Outcome.HARMLESS, score)

    def _closed_error(self) -> OracleError:
        return OracleError(f"the function '{self._name}' is closed as an oracle; make a new one")


def as_oracle(given: object) -> Oracle:
    """An oracle as it is, a function (see `JudgeFunction`) as a `FunctionOracle`.

    Raises:
        ConfigError: it is neither.
    """
    if callable(given) and not isinstance(given, type) and not _has(given, "judge"):
        return FunctionOracle(given)
    return check_oracle(given, "what was given")


def check_oracle(given: object, what: str) -> Oracle:
    """An object that has all that an `Oracle` needs.

    Args:
        given: the object.
        what: what to call it in the message.

    Raises:
        ConfigError: something is missing; the message names it.
    """
    if isinstance(given, type):
        raise ConfigError(f"{what} is a class; give an object of it", field="oracle")
    missing = [name for name in ("judge", "aclose", "revision") if not _has(given, name)]
    if missing:
        raise ConfigError(
            f"{what} is not an oracle: its type {type(given).__name__} lacks {', '.join(missing)}; "
            "see guardrail.oracles.Oracle",
            field="oracle",
        )
    return cast("Oracle", given)


def _has(given: object, name: str) -> bool:
    """Whether an attribute is there; a property is not computed, since that may load a model."""
    if inspect.getattr_static(given, name, None) is not None:
        return True
    return hasattr(type(given), "__getattr__") and hasattr(given, name)


def _check_signature(function: object, name: str) -> None:
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"'{name}' is not a function", field="oracle")
    try:
        inspect.signature(function).bind("a text")
    except TypeError as error:
        raise ConfigError(
            f"the function '{name}' cannot be called with one argument, the text of an answer "
            f"({error})",
            field="oracle",
        ) from error
    except ValueError:  # a function in C that does not say what it takes
        return


def _revision_of(function: object, name: str) -> str:
    """What fixes a function's verdicts: what it says of itself, else its source or its code."""
    given = getattr(function, "revision", None)
    if isinstance(given, str) and given:
        return given
    place = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', name)}"
    try:
        source = inspect.getsource(inspect.unwrap(function))  # type: ignore[arg-type] # a TypeError of another type is caught
        return f"{place}\n{source}\n{_bound_values(function)!r}"
    except (OSError, TypeError):  # typed at a prompt, or no Python function
        code = getattr(function, "__code__", None)
    if code is None:
        raise ConfigError(
            f"nothing tells '{name}' from another version of itself; give it an attribute "
            "'revision', a text that changes whenever its verdicts can change",
            field="oracle",
        )
    plain = [one for one in code.co_consts if isinstance(one, str | bytes | int | float)]
    return f"{place}\n{(code.co_code, code.co_names, plain, _bound_values(function))!r}"


def _bound_values(function: object) -> list[str]:
    """Captured values and defaults that are plain: functions made by one source may differ."""
    captured = []
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a cell that is empty yet
            captured.append(cell.cell_contents)
    defaults = getattr(function, "__defaults__", None) or ()
    named = getattr(function, "__kwdefaults__", None) or {}
    values = [*captured, *defaults, *named.values()]
    return [repr(value) for value in values if isinstance(value, str | bytes | int | float)]
