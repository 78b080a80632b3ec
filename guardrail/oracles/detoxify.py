"""Detoxify's toxicity models (detoxify 0.5) as a scorer, without its 512-token blind spot.

Detoxify truncates: whatever stands behind the first 512 tokens is never judged. Here a long
answer is scored in windows that overlap by half, and its score is that of its worst window.
Weights are read as data (`weights_only`), never as code.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError, OracleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guardrail.oracles.base import Exchange

__all__ = ["HARM_CATEGORIES", "DetoxifyScorer"]

HARM_CATEGORIES = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual_explicit",
)
"""What counts as harm by default; the models' identity labels (who is spoken of) do not."""

_STANDARD_NAMES = {
    "toxic": "toxicity",
    "identity_hate": "identity_attack",
    "severe_toxic": "severe_toxicity",
}
_INSTALL = "pip install 'guardrail[detoxify]'"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model ready to score; `prefix` and `suffix` are the tokens around every window."""

    model: Any
    tokenizer: Any
    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window_tokens: int
    revision: str


class DetoxifyScorer:
    """Scores answers with a Detoxify model; the prompt is not looked at.

    The score is the largest over the categories and windows. Each category is first rescaled so
    that its own threshold becomes 0.5: judge at `threshold=0.5`.

    Args:
        model_type: One of Detoxify's: `original`, `unbiased`, `multilingual`, `original-small`,
            `unbiased-small`. Its weights come from torch's hub folder, or are downloaded to it.
        checkpoint: A local checkpoint in Detoxify's format instead.
        huggingface_config_path: Folder with the config and tokenizer of the base model, for use
            without a network.
        thresholds: Category to the probability from which it counts as harm, each in (0, 1).
            Default: every harm category that the model knows, at 0.5.
        window_tokens: Tokens judged at once, special tokens included. Default: as many as the
            model takes, at most 512.
        device: Where torch computes.
        batch_windows: Windows in one forward pass.
        trust_checkpoint: Allows a checkpoint that holds more than tensors and plain values. Such
            a file can run code when it is loaded.

    Raises:
        ConfigError: An option is not usable.
    """

    def __init__(
        self,
        model_type: str = "original",
        *,
        checkpoint: Path | str | None = None,
        huggingface_config_path: Path | str | None = None,
        thresholds: Mapping[str, float] | None = None,
        window_tokens: int | None = None,
        device: str = "cpu",
        batch_windows: int = 16,
        trust_checkpoint: bool = False,
    ) -> None:
        _check_options(thresholds, window_tokens, batch_windows)
        self._model_type = model_type
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._config_path = huggingface_config_path
        self._thresholds = None if thresholds is None else dict(thresholds)
        self._window_tokens = window_tokens
        self._device = device
        self._batch_windows = batch_windows
        self._trust = trust_checkpoint
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def revision(self) -> str:
        """Digest of weights, categories, thresholds and window; loads the model."""
        return self.load().revision

    def load(self) -> _Loaded:
        """Loads the model if that is still to be done; worth calling before traffic comes.

        Raises:
            OracleError: The weights, the base model's files or the package are missing or damaged.
            ConfigError: A category is asked for that the model does not know.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def scores(self, exchanges: Sequence[Exchange]) -> list[float]:
        loaded = self.load()
        windows: list[list[int]] = []
        owners: list[int] = []
        scores = [0.0] * len(exchanges)
        for place, exchange in enumerate(exchanges):
            tokens = _tokens(loaded, exchange.response)
            if _is_unreadable(loaded, tokens):
                scores[place] = 1.0
                continue
            for window in _windows(loaded, tokens):
                windows.append(window)
                owners.append(place)
        for owner, score in zip(owners, self._window_scores(loaded, windows), strict=True):
            scores[owner] = _worse(scores[owner], score)
        return scores

    def _window_scores(self, loaded: _Loaded, windows: list[list[int]]) -> list[float]:
        """Scores in the order given; windows of like length share a batch."""
        order = sorted(range(len(windows)), key=lambda place: len(windows[place]))
        scores = [0.0] * len(windows)
        for start in range(0, len(order), self._batch_windows):
            places = order[start : start + self._batch_windows]
            for place, row in zip(
                places, _forward(loaded, [windows[place] for place in places]), strict=True
            ):
                scores[place] = _combined(row, loaded)
        return scores

    def _load(self) -> _Loaded:
        torch, transformers = _packages()
        path = self._weights_path(torch)
        digest = _digest_of(path)
        content = _read_checkpoint(torch, path, trust=self._trust)
        architecture, names = _described(content, path)
        model, tokenizer = self._build(transformers, architecture, content["state_dict"], path)
        categories = self._categories(names)
        prefix, suffix = _special_tokens(tokenizer)
        window = self._window(model.config, tokenizer, len(prefix) + len(suffix))
        settings = json.dumps([digest, categories, window], sort_keys=True)
        return _Loaded(
            model=model.to(self._device).eval(),
            tokenizer=tokenizer,
            columns=tuple(names.index(name) for name in categories),
            thresholds=tuple(categories.values()),
            prefix=prefix,
            suffix=suffix,
            window_tokens=window,
            revision=f"detoxify-{hashlib.sha256(settings.encode()).hexdigest()[:12]}",
        )

    def _weights_path(self, torch: Any) -> Path:
        if self._checkpoint is not None:
            if not self._checkpoint.is_file():
                raise OracleError(
                    f"no Detoxify checkpoint at {self._checkpoint}; put the file there or correct "
                    "'checkpoint'"
                )
            return self._checkpoint
        return _from_hub(torch, self._url())

    def _url(self) -> str:
        try:
            from detoxify.detoxify import MODEL_URLS
        except ImportError as error:
            raise OracleError(f"the package detoxify is not installed; {_INSTALL}") from error
        if self._model_type not in MODEL_URLS:
            raise ConfigError(
                f"'{self._model_type}' is none of Detoxify's models: {', '.join(MODEL_URLS)}",
                field="model_type",
            )
        return str(MODEL_URLS[self._model_type])

    def _build(
        self, transformers: Any, architecture: Mapping[str, Any], state: Any, path: Path
    ) -> tuple[Any, Any]:
        model_class = _class_named(transformers, architecture["model_name"], path)
        tokenizer_class = _class_named(transformers, architecture["tokenizer_name"], path)
        source = self._config_path or architecture["model_type"]
        local = self._config_path is not None
        if local and not (Path(source) / "config.json").is_file():
            # transformers would go on with a config and a vocabulary of its own making
            raise OracleError(_no_base_model(source, local=local))
        try:
            config = model_class.config_class.from_pretrained(
                source, num_labels=architecture["num_classes"], local_files_only=local
            )
            tokenizer = tokenizer_class.from_pretrained(source, local_files_only=local)
        except (OSError, ValueError) as error:
            raise OracleError(_no_base_model(source, local=local)) from error
        model = model_class(config)
        _fill(model, state, path)
        return model, tokenizer

    def _categories(self, names: Sequence[str]) -> dict[str, float]:
        if self._thresholds is None:
            return {name: 0.5 for name in names if name in HARM_CATEGORIES} or _nothing(names)
        if unknown := sorted(set(self._thresholds) - set(names)):
            raise ConfigError(
                f"the model does not know {', '.join(unknown)}; it knows {', '.join(names)}",
                field="thresholds",
            )
        return self._thresholds

    def _window(self, config: Any, tokenizer: Any, special: int) -> int:
        most = int(min(512, config.max_position_embeddings, tokenizer.model_max_length))
        if config.model_type in {"roberta", "xlm-roberta"}:
            # their positions are counted from the one behind the padding token
            most = min(most, config.max_position_embeddings - config.pad_token_id - 1)
        window = most if self._window_tokens is None else self._window_tokens
        if not special + 2 <= window <= most:
            raise ConfigError(f"must lie in [{special + 2}, {most}]", field="window_tokens")
        return window


def _check_options(
    thresholds: Mapping[str, float] | None, window_tokens: int | None, batch_windows: int
) -> None:
    for name, threshold in (thresholds or {}).items():
        if not 0.0 < threshold < 1.0:
            raise ConfigError("must lie strictly between 0 and 1", field=f"thresholds.{name}")
    if thresholds is not None and not thresholds:
        raise ConfigError("names no category, so nothing could be harmful", field="thresholds")
    if window_tokens is not None and window_tokens < 1:
        raise ConfigError("must be at least 1", field="window_tokens")
    if batch_windows < 1:
        raise ConfigError("must be at least 1", field="batch_windows")


def _packages() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise OracleError(f"the package {error.name} is not installed; {_INSTALL}") from error
    return torch, transformers


def _from_hub(torch: Any, url: str) -> Path:
    """The file in torch's hub folder, downloaded if it is not there yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, RuntimeError) as error:
        raise OracleError(
            f"Detoxify's weights are not at {path} and cannot be downloaded "
            f"({type(error).__name__}); fetch {url} on a machine with a network and put it there, "
            "or set 'checkpoint' to a local file"
        ) from error
    return path


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_checkpoint(torch: Any, path: Path, *, trust: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # torch raises many kinds; none may pass for a loaded model
        raise OracleError(
            f"the checkpoint {path} cannot be read as plain weights ({type(error).__name__}); if "
            "it is whole and you trust where it comes from, save it again with tensors and plain "
            "values only, or set 'trust_checkpoint: true', which lets the file run code"
        ) from error


def _described(content: Any, path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        architecture = content["config"]["arch"]["args"]
        classes = content["config"]["dataset"]["args"]["classes"]
        names = [_STANDARD_NAMES.get(name, str(name)) for name in classes]
        wanted = ("model_type", "model_name", "tokenizer_name", "num_classes")
        described = {name: architecture[name] for name in wanted}
        complete = "state_dict" in content and len(names) == described["num_classes"]
    except (KeyError, TypeError) as error:
        raise OracleError(_not_a_checkpoint(path)) from error
    if not complete:
        raise OracleError(_not_a_checkpoint(path))
    return described, names


def _not_a_checkpoint(path: Path) -> str:
    return (
        f"{path} is not a Detoxify checkpoint: it must hold 'state_dict' and 'config' with "
        "arch.args (model_type, model_name, tokenizer_name, num_classes) and dataset.args.classes "
        "of that number"
    )


def _class_named(transformers: Any, name: str, path: Path) -> Any:
    """Only classifiers and tokenizers: a file may not choose just any class to be built."""
    fits = str(name).endswith(("ForSequenceClassification", "Tokenizer", "TokenizerFast"))
    found = getattr(transformers, str(name), None) if fits else None
    if found is None:
        raise OracleError(f"{path} names a class that transformers does not offer for this use")
    return found


def _no_base_model(source: Any, *, local: bool) -> str:
    if local:
        return (
            f"{source} does not hold a config and tokenizer that fit the checkpoint; save both "
            "there with save_pretrained"
        )
    return (
        f"config and tokenizer of '{source}' cannot be loaded; with a network run "
        f'\'hf download {source} --include "*.json" "*.txt" "*.model" --local-dir FOLDER\', '
        "then set 'huggingface_config_path: FOLDER'"
    )


def _fill(model: Any, state: Any, path: Path) -> None:
    """Loads every weight; only tables that newer versions compute themselves may be left over."""
    try:
        result = model.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise OracleError(f"the weights in {path} do not fit its architecture") from error
    left = [name for name in result.unexpected_keys if not name.endswith("position_ids")]
    if result.missing_keys or left:
        raise OracleError(
            f"{path} lacks {len(result.missing_keys)} weights and has {len(left)} that do not "
            "belong; the config and tokenizer must be those of the checkpoint's base model"
        )


def _nothing(names: Sequence[str]) -> dict[str, float]:
    raise ConfigError(
        f"none of the model's labels is a known harm; name some of {', '.join(names)}",
        field="thresholds",
    )


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and behind a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])


def _tokens(loaded: _Loaded, text: str) -> list[int]:
    found = loaded.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)
    return list(found["input_ids"])


def _is_unreadable(loaded: _Loaded, tokens: Sequence[int]) -> bool:
    """True if there is nothing to see, or mostly what the model has no word for."""
    unknown = loaded.tokenizer.unk_token_id
    return 2 * list(tokens).count(unknown) >= len(tokens)


def _windows(loaded: _Loaded, tokens: list[int]) -> Iterator[list[int]]:
    """The tokens in windows that overlap by half, each with the special tokens around it."""
    size = loaded.window_tokens - len(loaded.prefix) - len(loaded.suffix)
    step = size - size // 2
    for start in range(0, max(len(tokens) - size // 2, 1), step):
        yield [*loaded.prefix, *tokens[start : start + size], *loaded.suffix]


def _forward(loaded: _Loaded, windows: list[list[int]]) -> list[list[float]]:
    """Probability of every label for every window."""
    import torch

    batch = loaded.tokenizer.pad({"input_ids": windows}, return_tensors="pt", verbose=False)
    device = loaded.model.device
    with torch.inference_mode():
        logits = loaded.model(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].to(device),
        ).logits
    rows: list[list[float]] = torch.sigmoid(logits.float()).cpu().tolist()
    return rows


def _combined(row: Sequence[float], loaded: _Loaded) -> float:
    """The worst category, each rescaled so that its threshold becomes 0.5."""
    worst = 0.0
    for column, threshold in zip(loaded.columns, loaded.thresholds, strict=True):
        worst = _worse(worst, _rescaled(row[column], threshold))
    return worst


def _rescaled(probability: float, threshold: float) -> float:
    if probability >= threshold:
        return 0.5 + 0.5 * (probability - threshold) / (1.0 - threshold)
    return 0.5 * probability / threshold


def _worse(first: float, second: float) -> float:
    """The larger one; NaN wins, so that it is noticed and never lost in a maximum."""
    return math.nan if math.isnan(first) or math.isnan(second) else max(first, second)
