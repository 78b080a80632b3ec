"""The whole run: labelled rows in; a page, a JSON file and logs out. What Python calls."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.assembly import build_engine, read_policy
from guardrail.canonical import digest_json
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.most_calls import most_view_calls
from guardrail.errors import CertificationError, ConfigError
from guardrail.evaluation.benchmark.beside import read_reports
from guardrail.evaluation.benchmark.comparing import open_comparer
from guardrail.evaluation.benchmark.conversations import ChatRules
from guardrail.evaluation.benchmark.deciding import Decider, decide_rows, enforcing
from guardrail.evaluation.benchmark.evaluation import Evaluation, Identity
from guardrail.evaluation.benchmark.harness_run import dataset_name, write_harness_run
from guardrail.evaluation.benchmark.labelled_set import read_labelled_set
from guardrail.evaluation.benchmark.log import EvaluationLog
from guardrail.evaluation.benchmark.page import write_evaluation_page
from guardrail.evaluation.benchmark.recall_run import RecallRun, plan_recall
from guardrail.evaluation.requests import Watch, watch_nothing
from guardrail.policy.compile import image_limits
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.assembly import KeySource, PolicySource, Upstreams
    from guardrail.engine.engine import Engine
    from guardrail.evaluation.benchmark.comparing import AnswerComparer
    from guardrail.evaluation.benchmark.guard_report import GuardReport
    from guardrail.evaluation.benchmark.labelled_set import LabelledSet
    from guardrail.evaluation.benchmark.recall_run import RecallPlan
    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.set_recall import SetRecall, SetThreats
    from guardrail.policy.schema import Policy
    from guardrail.tuning.columns import Columns
    from guardrail.types import Json

__all__ = [
    "DataOptions",
    "EvaluationRun",
    "RunOptions",
    "evaluate",
    "evaluate_async",
    "make_folder",
    "write_evaluation",
]

_DECISIONS, _RECALL = "decisions.log.jsonl", "recall.log.jsonl"
_THREATS = "threats.log.jsonl"
_JSON, _PAGE, _HARNESS = "evaluation.json", "evaluation.html", "guard-eval-harness"


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How the labelled rows are read.

    Attributes:
        prompt: the question where a row has none.
        parameters: fields of every request, such as `max_tokens`; those of a row win.
        seed: of the draw of one row from each cluster of near-copies.
        most: how many rows to decide at most of each set and label; None for all clusters.
        split: of a dataset with several.
        skip_bad_rows: leave out, and name, rows that cannot be used.
        columns: where the fields stand; None for columns of their names.
        encoding: of a table of text that does not say it itself; None for UTF-8.
    """

    prompt: str = "What is shown in this picture?"
    parameters: Mapping[str, Json] = field(default_factory=dict)
    seed: int = 0
    most: int | None = None
    split: str | None = None
    skip_bad_rows: bool = False
    columns: Columns | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is measured.

    Attributes:
        model: the name that the upstream is asked for; empty for the first that it has.
        draws: noisy variants of each harmful request for certified recall; 0 measures none.
        view_draws: answers to each view of each harmful request, for certified recall per threat
            that the policy covers; 0 measures none, None draws as many as is usual.
        delta: probability in (0, 1), at most, that any one interval is wrong.
        bare: whether the model is also asked without the guard.
        beside: reports of other guards; see `read_guard_report`.
    """

    model: str = ""
    draws: int = 100
    view_draws: int | None = None
    delta: float = 0.05
    bare: bool = True
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class EvaluationRun:
    """Everything that is fixed before the first call.

    Attributes:
        engine: decides.
        policy: by which.
        rows: what is decided.
        options: what is measured.
        recall: what of certified recall is measured, and why the rest is not.
        reports: of other guards.
    """

    engine: Engine
    policy: Policy
    rows: LabelledSet
    options: RunOptions
    recall: RecallPlan
    reports: tuple[GuardReport, ...] = ()

    @classmethod
    def prepare(
        cls,
        engine: Engine,
        policy: Policy,
        data: Path,
        options: RunOptions,
        data_options: DataOptions,
        watch: Watch = watch_nothing,
    ) -> EvaluationRun:
        """Reads the rows, and says what can be measured. Raises ConfigError."""
        if isinstance(engine, FailoverEngine):
            raise ConfigError("an evaluation is of one model; give one upstream", field="upstream")
        rows = read_labelled_set(
            data,
            prompt=data_options.prompt,
            parameters=data_options.parameters,
            limits=image_limits(policy),
            chats=ChatRules.of(policy),
            seed=data_options.seed,
            most=data_options.most,
            split=data_options.split,
            skip_bad_rows=data_options.skip_bad_rows,
            columns=data_options.columns,
            encoding=data_options.encoding,
            watch=watch,
        )
        recall = plan_recall(
            engine,
            rows,
            draws=options.draws,
            view_draws=options.view_draws,
            delta=options.delta,
        )
        named = [(digest, row.request.name) for digest, row in rows.drawn]
        reports = read_reports(options.beside, dataset_name(rows.name), named)
        return cls(enforcing(engine), policy, rows, options, recall, reports)

    @property
    def most_calls(self) -> int:
        """Answers of the model at most, without repeats after faults."""
        rules, drawn = self.engine.rules, self.rows.drawn
        decided = 0
        for sizes, count in Counter(row.sizes for _, row in drawn).items():
            decided += count * (rules.max_samples if sizes else 1)
            with suppress(CertificationError):  # no view or test exists, and nothing is drawn
                decided += count * most_view_calls(rules, sizes)
        return decided + self.options.bare * len(drawn) + self.recall.most_answers(self.rows)

    async def measure(self, folder: Path | None, watch: Callable[[str], Watch]) -> Evaluation:
        """Decides and draws what the logs in the folder do not have yet.

        Args:
            folder: of the logs, made before; None keeps nothing.
            watch: gives a progress bar for each of `deciding`, `recall` and `views`.

        Raises:
            GuardrailError: model or oracle are not set up rightly, or bring nothing at all; or the
                folder holds another evaluation. What is known is kept.
        """
        model = self.options.model or (await self.engine.upstream.models())[0]
        comparer = await asyncio.to_thread(open_comparer) if self.options.bare else None
        try:
            method = "" if comparer is None else await asyncio.to_thread(lambda: comparer.method)
            results = await self._decide(folder, model, comparer, method, watch("deciding"))
        finally:
            if comparer is not None:
                await comparer.aclose()
        recalls, threats = await self._recall(folder, model, watch)
        return Evaluation(
            self._identity(model, method),
            results,
            recalls,
            threats,
            self.recall.pixels_left_out,
            self.recall.threats_left_out,
            self.reports,
        )

    async def _decide(
        self,
        folder: Path | None,
        model: str,
        comparer: AnswerComparer | None,
        method: str,
        watch: Watch,
    ) -> tuple[RowResult, ...]:
        settings = self._settings(model) | {"comparer": method}
        decider = Decider(self.engine, model, image_limits(self.policy), comparer)
        path = None if folder is None else folder / _DECISIONS
        with EvaluationLog(path, settings) as log, watch(len(self.rows.drawn)) as step:
            return tuple(await decide_rows(decider, self.rows, log, step))

    async def _recall(
        self, folder: Path | None, model: str, watch: Callable[[str], Watch]
    ) -> tuple[tuple[SetRecall, ...], tuple[SetThreats, ...]]:
        plan, limits = self.recall, image_limits(self.policy)
        run = RecallRun(self.engine, self.rows, model, limits, self._settings(model))
        recalls: tuple[SetRecall, ...] = ()
        threats: tuple[SetThreats, ...] = ()
        if plan.pixels is not None:
            path = None if folder is None else folder / _RECALL
            recalls = await run.pixels(plan.pixels, path, watch("recall"))
        if plan.threats is not None:
            path = None if folder is None else folder / _THREATS
            threats = await run.threats(plan.threats, path, watch("views"))
        return recalls, threats

    def _settings(self, model: str) -> dict[str, Any]:
        """All that a row depends on; a key of this process alone is left out."""
        engine = self.engine
        return {
            "policy": engine.rules.name,
            "policy_digest": engine.rules.digest,
            "model": model,
            "upstream": engine.upstream.name,
            "upstream_revision": engine.upstream.revision,
            "oracle_revision": engine.oracle.revision,
            "data_digest": self.rows.digest,
            "drawn": _digest_drawn(self.rows),
        }

    def _identity(self, model: str, comparer: str) -> Identity:
        engine, rows = self.engine, self.rows
        return Identity(
            policy=engine.rules.name,
            policy_digest=engine.rules.digest,
            claim=engine.rules.claim.value,
            alpha=engine.rules.alpha,
            sigma=engine.rules.sigma,
            model=model,
            upstream=engine.upstream.name,
            upstream_revision=engine.upstream.revision,
            oracle_revision=engine.oracle.revision,
            data=rows.name,
            data_digest=rows.digest,
            rows=rows.rows,
            clusters=rows.clusters,
            left_out=rows.problems,
            seed=rows.seed,
            delta=self.options.delta,
            comparer=comparer,
            code_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def evaluate(
    data: str | Path,
    out: str | Path | None = None,
    *,
    policy: PolicySource = "default",
    upstream: Upstreams = "builtin",
    key: KeySource = None,
    oracle: object = None,
    options: RunOptions | None = None,
    data_options: DataOptions | None = None,
    watch: Callable[[str], Watch] = lambda _: watch_nothing,
) -> Evaluation:
    """Measures a guarded model on labelled data, as `guardrail evaluate` does.

    Example:
        ```python
        from guardrail.evaluation.benchmark.evaluate import evaluate

        found = evaluate("scenes", "results", policy="strict", upstream=my_function)
        for group in found.sets:
            print(group.name, group.right.count, group.rows, group.right.lower)
        ```

    Args:
        data: a table, a folder, or a dataset saved to disk; see docs/evaluation.md.
        out: folder for the page, the JSON file and the logs, made where it is missing. A run that
            was stopped goes on from its logs. None keeps nothing.
        policy: name of a shipped policy, a file or a `Policy`.
        upstream: a spec, an `Upstream`, or a function that takes a chat completion request.
        key: file of the noise key, or a key; None draws a fresh one.
        oracle: judges in place of the policy's.
        options: what is measured.
        data_options: how the data are read.
        watch: gives a progress bar by its name.

    Raises:
        ConfigError: data, policy or options cannot be used, or the folder holds another
            evaluation.
        UpstreamError: the model brings nothing at all; what is known is kept.
        RuntimeError: called on a running event loop; await `evaluate_async` there.
    """
    return asyncio.run(
        evaluate_async(
            data,
            out,
            policy=policy,
            upstream=upstream,
            key=key,
            oracle=oracle,
            options=options,
            data_options=data_options,
            watch=watch,
        )
    )


async def evaluate_async(
    data: str | Path,
    out: str | Path | None = None,
    *,
    policy: PolicySource = "default",
    upstream: Upstreams = "builtin",
    key: KeySource = None,
    oracle: object = None,
    options: RunOptions | None = None,
    data_options: DataOptions | None = None,
    watch: Callable[[str], Watch] = lambda _: watch_nothing,
) -> Evaluation:
    """See `evaluate`."""
    # An earlier measurement that no longer fits must not keep a new one from being made.
    read = read_policy(policy).model_copy(update={"recall": None})
    folder = None if out is None else make_folder(Path(out))
    engine = await asyncio.to_thread(build_engine, read, upstream, key, oracle=oracle)
    try:
        run = await asyncio.to_thread(
            EvaluationRun.prepare,
            engine,
            read,
            Path(data),
            options or RunOptions(),
            data_options or DataOptions(),
            watch("reading"),
        )
        found = await run.measure(folder, watch)
    finally:
        await engine.aclose()
    if folder is not None:
        await asyncio.to_thread(write_evaluation, folder, found)
    return found


def make_folder(folder: Path) -> Path:
    """Raises ConfigError where there is none and none can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"this folder cannot be made ({error.strerror}); choose another", file=str(folder)
        ) from error
    return folder


def write_evaluation(folder: Path, found: Evaluation) -> None:
    """Writes the page, the JSON file and guard-eval-harness's form. Raises ConfigError."""
    write_evaluation_page(folder / _PAGE, found)
    write_harness_run(folder / _HARNESS, found)
    path = folder / _JSON
    try:
        path.write_text(json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise ConfigError(
            f"this file cannot be written ({error.strerror}); choose another folder",
            file=str(path),
        ) from error


def _digest_drawn(rows: LabelledSet) -> str:
    """Which rows were drawn, as one short text."""
    return digest_json([[digest, row.set_name, row.harmful] for digest, row in rows.drawn])
