"""Entry point, executed by path with the project's interpreter: ``python .../runner/__main__.py FD``.

FD is the inherited descriptor that events are written to; requests come on stdin.
"""

import importlib
import importlib.util
import os
import sys

NAME = "lockkeeper_runner"


def _load_package() -> None:
    """Import this folder as ``lockkeeper_runner``, leaving sys.path as the command ``alembic`` sees it."""
    folder = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == folder:
        del sys.path[0]
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(folder)
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    importlib.import_module(NAME + ".service").serve(int(sys.argv[1]))
