"""Finds plugins by their entry points and asks them for their functions."""

import pluggy

OSPREY_ADAPTOR = "osprey_plugin"
hookspec_osprey = pluggy.HookspecMarker(OSPREY_ADAPTOR)
hookimpl_osprey = pluggy.HookimplMarker(OSPREY_ADAPTOR)


class Hooks:
    @hookspec_osprey
    def register_udfs(self):
        pass


def find_functions() -> dict[str, type]:
    manager = pluggy.PluginManager(OSPREY_ADAPTOR)
    manager.add_hookspecs(Hooks)
    manager.load_setuptools_entrypoints(OSPREY_ADAPTOR)
    manager.check_pending()
    functions = [function for found in manager.hook.register_udfs() for function in found]
    return {function.__name__: function for function in functions}
