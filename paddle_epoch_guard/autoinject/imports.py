"""Calls a function with a module as soon as the module is imported."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Hook = Callable[[ModuleType], None]


class AfterImport(MetaPathFinder):
    """Finds modules as the other finders do, and calls a hook once a module has been executed.

    Args:
        hooks: full name of a module -> the function to call with it.
    """

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = dict(hooks)

    def install(self) -> None:
        """Goes before all other finders; calls the hooks of already imported modules at once."""
        sys.meta_path.insert(0, self)
        for name in self._hooks.keys() & sys.modules.keys():
            self._hooks[name](sys.modules[name])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls the hook."""
        if fullname not in self._hooks:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _call_after(spec.loader, fullname, self._hooks[fullname])
        return spec


def _call_after(loader: object, name: str, hook: Hook) -> None:
    execute: Hook = loader.exec_module  # type: ignore[attr-defined]

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == name:  # a loader of a zip file serves all its modules
            hook(module)

    loader.exec_module = exec_module  # type: ignore[attr-defined]
