"""Kinds of oracles by name: built in, from packages, and by module; mistakes say what to do."""

import asyncio
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles import Exchange, OracleOptions, Outcome, registry
from guardrail.oracles.registry import GROUP, build_oracle, builtin_kinds, find_options, known_kinds
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.document import Source
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.policy.shipped import shipped_names, shipped_policy

MODULE = """
import guardrail
from guardrail.oracles import HarmOptions, Judgement, OracleByKind, OracleOptions, Outcome
from guardrail.oracles import build_oracle

class Constant:
    def __init__(self, outcome, revision="constant"):
        self.outcome, self.revision = outcome, revision
    async def judge(self, exchanges):
        return [Judgement(self.outcome, float(self.outcome is Outcome.HARMFUL)) for _ in exchanges]
    async def aclose(self):
        pass

class Options(HarmOptions):
    harmful: bool = False
    def build(self, folder):
        return Constant(Outcome.HARMFUL if self.harmful else Outcome.HARMLESS, folder.name)

class Wrapped(OracleOptions):
    inner: OracleByKind
    def build(self, folder):
        return build_oracle(self.inner, folder)

class Space:
    Options = Options

class Unbuilt(OracleOptions):
    pass

class Half(OracleOptions):
    def build(self, folder):
        return object()

class Itself(OracleOptions):
    def build(self, folder):
        return Constant

class Nameless(OracleOptions):
    def build(self, folder):
        return Constant(Outcome.HARMLESS, 7)

class Crashes(OracleOptions):
    def build(self, folder):
        raise KeyError("weights")

class Refuses(OracleOptions):
    def build(self, folder):
        raise guardrail.OracleError("the weights are not there")

def function(text):
    return "bad" in text

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Modules on the path of this process, imported afresh by each test."""
    folder = tmp_path / "modules"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "__init__.py").write_text("")
    (folder / "own" / "oracles.py").write_text(MODULE)
    (folder / "own" / "broken.py").write_text("raise RuntimeError('no licence')\n")
    (folder / "own" / "needs.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
        del sys.modules[name]


@pytest.fixture
def entry_points(monkeypatch):
    """Entry points of installed packages, as (name, object) pairs."""
    pairs = []

    def find(*, group):
        return [importlib.metadata.EntryPoint(*pair, group) for pair in pairs if group == GROUP]

    monkeypatch.setattr(registry.metadata, "entry_points", find)
    return pairs


def oracle_of(**section):
    return Policy.model_validate({"name": "p", "oracle": section}).oracle


def judge(oracle, *texts):
    async def run():
        try:
            return await oracle.judge([Exchange("", text) for text in texts])
        finally:
            await oracle.aclose()

    return [judgement.outcome for judgement in asyncio.run(run())]


@pytest.mark.parametrize("kind", builtin_kinds())
def test_the_file_of_a_kind_has_its_name(kind):
    options = find_options(kind)
    assert options.__module__ == f"guardrail.oracles.kinds.{kind}"
    assert options.model_fields["kind"].annotation.__args__ == (kind,)


def test_kinds_are_the_files_of_the_folder():
    folder = Path(registry.__file__).parent / "kinds"
    assert set(builtin_kinds()) == {file.stem for file in folder.glob("[a-z]*.py")}
    assert len(builtin_kinds()) > 10


def test_only_the_kind_that_is_named_is_imported():
    code = (
        "import sys\n"
        "from guardrail.policy.schema import Policy\n"
        "Policy.model_validate({'name': 'p', 'oracle': {'kind': 'lexicon', 'file': 'a'}})\n"
        "print([n for n in sys.modules if n.startswith('guardrail.oracles.kinds.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['guardrail.oracles.kinds.lexicon']"


def test_options_are_found_by_module_and_name():
    options = oracle_of(kind="own.oracles:Options", harmful=True, miss_rate_upper=0.1)
    assert options.harmful is True
    assert options.bound_miss_rate(Path()).miss_rate_upper == 0.1
    assert judge(build_oracle(options, Path("x")), "a") == [Outcome.HARMFUL]
    assert oracle_of(kind="own.oracles:Space.Options") == oracle_of(
        kind="own.oracles:Space.Options"
    )


def test_a_function_is_found_by_module_and_name():
    options = oracle_of(kind="own.oracles:function")
    assert judge(build_oracle(options, Path()), "bad", "good") == [
        Outcome.HARMFUL,
        Outcome.HARMLESS,
    ]
    assert options == oracle_of(kind="own.oracles:function")


def test_an_installed_package_gives_a_name(entry_points):
    entry_points += [("loud", "own.oracles:Options"), ("word", "own.oracles:function")]
    assert known_kinds() == (*builtin_kinds(), "loud", "word")
    assert judge(build_oracle(oracle_of(kind="loud", harmful=True), Path("x")), "a") == [
        Outcome.HARMFUL
    ]
    assert judge(build_oracle(oracle_of(kind="word"), Path()), "bad") == [Outcome.HARMFUL]


def test_a_built_in_name_cannot_be_taken(entry_points):
    entry_points.append(("builtin", "own.oracles:Options"))
    assert find_options("builtin").__name__ == "BuiltinOptions"
    assert known_kinds() == builtin_kinds()


def test_a_name_that_two_packages_offer_is_refused(entry_points):
    entry_points += [("loud", "own.oracles:Options"), ("loud", "own.other:Options")]
    with pytest.raises(ConfigError, match=r"several .*own.oracles:Options, own.other:Options"):
        find_options("loud")


def test_an_unknown_kind_lists_the_known(entry_points):
    entry_points.append(("loud", "own.oracles:Options"))
    for kind in ("magic", "a b:c", "own.oracles:", "own.oracles:function()", "../own:x", ""):
        with pytest.raises(ConfigError, match=r"known are action, .*semantic, loud, and 'module"):
            find_options(kind)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("absent:name", "no module 'absent'; install the package that brings it"),
        ("own.absent:name", r"no module 'own.absent'; install"),
        ("own.needs:name", "needs the package 'a_package_that_is_not_there'.*install it"),
        ("own.broken:name", r"importing 'own.broken' failed \(RuntimeError: no licence\)"),
        ("own.oracles:absent", "'own.oracles' has no 'absent'; check the name"),
        ("own.oracles:Space.absent", r"has no 'Space.absent'"),
        ("own.oracles:NUMBER", "of the type int; name a subclass of"),
        ("own.oracles:Constant", "class of an oracle, but not one of options"),
        ("own.oracles:Space", "a class, but not one of options"),
        ("own.oracles:Unbuilt", r"lack a method 'build\(self, folder\)'"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(tmp_path, kind, told):
    path = tmp_path / "policy.yaml"
    path.write_text(f"name: mine\noracle:\n  threshold: 0.5\n  kind: {kind}\n")
    with pytest.raises(ConfigError, match=told) as caught:
        load_policy(path)
    assert (caught.value.line, caught.value.field) == (4, "oracle.kind")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "Half",
            "what 'own.oracles:Half' builds is not an oracle: its type object lacks judge, aclose",
        ),
        ("Itself", "what 'own.oracles:Itself' builds is a class; give an object of it"),
        ("Nameless", "has a revision that is no text"),
        ("Crashes", "could not be built .KeyError: 'weights'"),
    ],
)
def test_what_is_built_must_be_an_oracle(name, told):
    policy = Policy.model_validate({"name": "p", "oracle": {"kind": f"own.oracles:{name}"}})
    with pytest.raises(ConfigError, match=told):
        compile_oracle(policy)


def test_an_error_of_the_house_passes_as_it_is():
    with pytest.raises(OracleError, match=r"^the weights are not there$"):
        build_oracle(oracle_of(kind="own.oracles:Refuses"), Path())


def test_its_fields_are_checked_like_any_other(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("name: mine\noracle:\n  kind: own.oracles:Options\n  harmfull: true\n")
    with pytest.raises(ConfigError, match="there is no such field") as caught:
        load_policy(path)
    assert (caught.value.line, caught.value.field) == (4, "oracle.harmfull")


def test_it_can_be_a_member_and_hold_members():
    member = {"kind": "own.oracles:Options", "harmful": True, "miss_rate_upper": 0.2}
    ensemble = {"kind": "ensemble", "rule": "any", "members": [member, {"kind": "builtin"}]}
    wrapped = oracle_of(kind="own.oracles:Wrapped", inner=ensemble)
    assert judge(build_oracle(wrapped, Path("x")), "a cat") == [Outcome.HARMFUL]
    assert oracle_of(**ensemble).bound_miss_rate(Path()).miss_rate_upper == 0.2


def test_fields_and_revision_are_sealed():
    def policy(**fields):
        section = {"kind": "own.oracles:Options", "miss_rate_upper": 0.1, **fields}
        return Policy.model_validate({"name": "p", "oracle": section})

    assert policy_digest(policy()) == policy_digest(policy(harmful=False))
    assert policy_digest(policy()) != policy_digest(policy(harmful=True))
    assert policy_digest(policy()) != policy_digest(policy(kind="own.oracles:Space.Options"))
    assert compile_policy(policy()).digest == policy_digest(policy())
    assert compile_oracle(policy().with_source(Source(Path("here")))).revision == "here"
    assert json.loads(policy(harmful=True).model_dump_json())["oracle"]["harmful"] is True


def test_a_section_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("name: mine\noracle: builtin\n")
    with pytest.raises(ConfigError, match="an oracle is a mapping of fields") as caught:
        load_policy(path)
    assert caught.value.field == "oracle"


class TestSchema:
    """What `guardrail policy schema` prints."""

    SCHEMA = Policy.model_json_schema()

    def accepts(self, oracle):
        validator = jsonschema.Draft202012Validator(self.SCHEMA)
        return validator.is_valid({"name": "p", "oracle": oracle})

    @pytest.mark.parametrize("name", shipped_names())
    def test_takes_the_oracles_of_shipped_policies(self, name):
        assert self.accepts(yaml.safe_load(shipped_policy(name).read_text()).get("oracle", {}))

    def test_takes_other_packages_oracles_at_any_depth(self):
        own = {"kind": "own.oracles:Options", "harmful": True}
        assert self.accepts(own)
        assert self.accepts({"kind": "ensemble", "rule": "any", "members": [own, {}]})

    @pytest.mark.parametrize(
        "oracle",
        [
            {"kind": "builtin", "treshold": 0.5},
            {"kind": "judge"},
            {"kind": "ensemble", "rule": "any", "members": [{"kind": "lexicon"}]},
            {"harmful": True},
        ],
    )
    def test_refuses_what_the_policy_would(self, oracle):
        assert not self.accepts(oracle)

    def test_it_has_one_definition_for_each_kind(self):
        names = {find_options(kind).__name__ for kind in builtin_kinds()}
        assert names <= set(self.SCHEMA["$defs"])
        assert len(self.SCHEMA["$defs"]["Oracle"]["oneOf"]) == len(names) + 1


def test_options_without_a_miss_rate_know_none():
    class Own(OracleOptions):
        def build(self, folder):
            raise AssertionError(folder)

    own = Own(kind="own")
    assert own.bound_miss_rate(Path()) is None
    assert own.with_calibration(Path()) is own
