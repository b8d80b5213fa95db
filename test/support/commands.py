"""Makes docs/commands.md, the reference of all commands, of what click knows about them.

PYTHONPATH=. python test/support/commands.py
"""

from pathlib import Path

import click

from aurora.errors import DeviceError, InputError, OutputError, Stopped, UsageError, WeightsError
from inference.cli import main as inference
from inference.run import EXIT_FALLBACKS
from training.cli import main as training

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
GROUPS = {"inference": inference, "training": training}
ERRORS = (UsageError, InputError, WeightsError, OutputError, DeviceError, Stopped)
# What --help takes on a terminal that is wide enough, whatever the one at hand is.
WIDTH = 108

HEAD = """\
# Commands

Every command of `python -m inference` and `python -m training`, as `--help` prints it. This page is made by
`PYTHONPATH=. python test/support/commands.py`.

## Exit codes

| exit code | what it means |
| --- | --- |
{codes}

The last line of a failure says what was expected, what was found and what to do: [What can go wrong](faults.md).

## Environment variables

Every option can also be set in the environment, whatever the command: `--batch-size` is `AURORA_BATCH_SIZE`. What the
command line says goes first. A switch is set by `1`. An option that may be repeated takes several values at once:
folders with a colon between them, anything else with a space.

`AURORA_MODEL_FOLDER` is no option's. It names a folder whose only checkpoint goes before the shipped one.
"""


def commands_page() -> str:
    """The whole page."""
    codes = {0: "Done."} | {error.exit_code: (error.__doc__ or "").partition("\n")[0] for error in ERRORS}
    codes[EXIT_FALLBACKS] = "`inference run --strict`: a row got a fallback or no prediction."
    table = "\n".join(f"| {code} | {codes[code]} |" for code in sorted(codes))
    return HEAD.format(codes=table) + "".join(map(_help, GROUPS))


def _help(name: str) -> str:
    """The help of a group and of each of its commands."""
    group, program = GROUPS[name], f"python -m {name}"
    above = click.Context(group, info_name=program, terminal_width=WIDTH, **group.context_settings)
    text = f"\n## {program}\n\n```text\n{group.get_help(above)}\n```\n"
    for command in (command for command in group.commands.values() if not command.hidden):
        context = click.Context(command, parent=above, info_name=command.name, **command.context_settings)
        text += f"\n### {program} {command.name}\n\n```text\n{command.get_help(context)}\n```\n"
    return text


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
