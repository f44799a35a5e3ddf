"""The command ``quant-conformance``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from quant_conformance.errors import ConformanceError
from quant_conformance.report.plain import spell_what_cannot_be_shown

_NEEDS = {"typer", "rich", "pydantic", "packaging", "jsonschema", "jinja2", "markdown_it"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        0: nothing unexpected; 1: wrong, crashed, timed out, stale or worse; 2: usage.
    """
    from quant_vectors import VectorError

    spell_what_cannot_be_shown()
    code = 0
    try:
        from quant_conformance.commands.app import app

        try:
            app(arguments, prog_name="quant-conformance")
        except SystemExit as end:  # typer ends every command so
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()  # a full disk is told of here, not in the middle of the exit
    except ModuleNotFoundError as error:  # at once, or where an option needs a further package
        if error.name not in _NEEDS:
            raise
        return _refuse(
            f"the command needs {error.name}; "
            "install with: pip install 'quant-conformance[conformance]'"
        )
    except (ConformanceError, VectorError) as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk behind standard output, a temporary folder that is gone
        name = error.filename or "the output or a temporary file"
        return _refuse(f"cannot read or write {name}: {error.strerror or error}")
    return code


def _refuse(text: str) -> int:
    print(f"quant-conformance: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
