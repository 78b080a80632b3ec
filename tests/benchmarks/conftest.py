"""Scripts of `benchmarks/` as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def script():
    """Loads `benchmarks/FOLDER/NAME.py`."""

    def load(folder, name):
        spec = importlib.util.spec_from_file_location(
            f"{folder}_{name}", BENCHMARKS / folder / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where its dataclasses look for their types
        spec.loader.exec_module(module)
        return module

    return load
