"""Turns oneDNN off in torch, in every Python process that has this folder on PYTHONPATH.

torch reads no environment variable for it. Nothing is imported: the switch is thrown when a
process imports torch by itself.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder


class _Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.backends.mkldnn.set_flags(False)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
