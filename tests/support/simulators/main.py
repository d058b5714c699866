"""What the installed executables run: ``python -I -S main.py TOOL STATE ARGUMENT…``; standard library only, to be quick."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> int:
    """Run one tool's command line and return its exit code."""
    from state import Refused, State

    tool, directory, *arguments = sys.argv[1:]
    state = State(Path(directory))
    try:
        return _run(tool, state, arguments)
    except Refused as refusal:
        state.refuse(tool, arguments, str(refusal))
        print(f"error: {refusal}", file=sys.stderr)
        return refusal.code


def _run(tool: str, state: object, arguments: list[str]) -> int:
    from importlib import import_module

    from state import Failed, complain

    program = import_module(f"{tool}_cli")
    try:
        return int(program.run(state, arguments))
    except Failed as failure:
        complain(f"{program.FAILURE}{failure}")
        return failure.code


if __name__ == "__main__":
    sys.exit(main())
