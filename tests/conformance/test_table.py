"""docs/clients.md says what the clients showed."""

import importlib.util
import json

import pytest


@pytest.fixture(scope="module")
def make(kit):
    spec = importlib.util.spec_from_file_location("make_table", kit.HERE / "make_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(kit):
    return json.loads(kit.RESULTS.read_text())


def test_the_page_is_what_the_command_makes(kit, make, results):
    assert make.PAGE.read_text() == make.page(results, kit.ANSWER, make.versions())


def test_every_client_was_asked_everything(kit, results):
    names = [ask.name for ask in kit.ASKS]
    assert len(results) == 10
    assert all(list(seen) == names for seen in results.values())


def test_every_ask_has_one_place_on_the_page(kit, make):
    placed = [name for names in make.GROUPS.values() for name in names]
    assert sorted(placed) == sorted(ask.name for ask in kit.ASKS)


def test_the_page_is_linked(repository):
    assert "(clients.md)" in (repository / "docs" / "wire.md").read_text()
