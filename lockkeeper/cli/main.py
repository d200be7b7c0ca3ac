"""The entry point: parses arguments, runs one command, decides the exit code and writes the result.

Nothing that goes wrong leaves as a traceback, and an unexpected error after a change has begun never claims
that the database is as before.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lockkeeper import __version__
from lockkeeper.cli import (
    alerts,
    approvals,
    archive,
    backups,
    drill,
    lint,
    metrics,
    migrations,
    pages,
    recoveries,
    rename,
    stack,
    status,
    targets,
    test,
    trend,
    watch,
)
from lockkeeper.cli.output import Result, Session, configure_logging
from lockkeeper.errors import FAILED, NEEDS_HUMAN, REFUSED, ConfigurationError, LockkeeperError
from lockkeeper.redaction import redact

PROGRAM = "lockkeeper"
_TYPER_INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt, unless it raises Abort
_HELP = """Brings a live PostgreSQL database from one schema to the next and never loses a row.

\b
Exit codes:
  0  done, or nothing to do
  1  failed, and the database is as before (or was recovered)
  2  refused before anything was touched: bad input, or a preflight check
  3  needs a human: the message holds the next command

\b
Start here:
  lockkeeper target add NAME --database-url-env VAR --alembic alembic.ini --storage s3://bucket/prefix
  lockkeeper target check NAME
  lockkeeper migrate NAME
"""
_FACTS = ("revision", "sqlstate", "backup_id", "key", "holder", "problems", "findings", "program_exit_code")

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(targets.app, name="target")
app.add_typer(rename.app, name="rename")
app.add_typer(alerts.app, name="alert")
for _command in (
    migrations.migrate, migrations.plan, lint.lint, status.status, watch.watch, trend.trend,
    pages.report, metrics.metrics,
    approvals.approve, approvals.reject, approvals.abort,
    backups.backup, backups.backups, backups.restore, archive.archive, drill.drill, rename.tune,
    recoveries.recover, recoveries.undo, recoveries.clean, stack.up, stack.down,
):  # fmt: skip
    app.command()(_command)
app.command("test")(test.prove_revisions)


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        session: Session = context.obj
        session.emit(Result(data={"version": __version__}, text=f"{PROGRAM} {__version__}"))
        session.answered = True
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Progress also without a terminal.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks and all logs, redacted.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the program and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run the program with these arguments and return its exit code; never raises an Exception."""
    arguments = list(argv)
    session = Session.from_arguments(arguments)
    configure_logging(session)
    result = _result(arguments, session)
    if not session.answered:
        session.emit(result)
    return result.exit_code


@functools.cache
def _command_line() -> Any:
    """Return what typer makes of ``app``: an object of click, or of a copy of click that typer carries."""
    command: Any = typer.main.get_command(app)
    for group in (command, *(command.commands[name] for name in ("target", "rename", "alert"))):
        group.rich_markup_mode = None  # rich's panels cost half a second; only the commands have them
    return command


def _result(arguments: list[str], session: Session) -> Result:
    command = _command_line()
    try:
        _refuse_empty(arguments)
        with session.guarding_stdout():
            answer = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False, obj=session)
    except LockkeeperError as error:
        return _of_error(error, session)
    except KeyboardInterrupt:
        return _of_interruption(session)
    except Exception as error:
        if hasattr(error, "format_message"):  # of click, which typer may carry under a name of its own
            return _of_usage(error, session)
        if isinstance(error, typer.Abort):
            return _of_interruption(session)
        return _of_bug(error, session)
    if answer == _TYPER_INTERRUPTED:
        return _of_interruption(session)
    return answer if isinstance(answer, Result) else Result(exit_code=answer or 0)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: ``"$REVISION"`` of a script that has not set it must not mean head."""
    for position, argument in enumerate(arguments):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            before = arguments[position - 1] if position and not argument else argument
            where = f" ({before.rstrip('=')})" if before else ""
            raise ConfigurationError(
                f"Argument {position + 1} is empty{where}. Is a variable of your script not set? "
                "Give it a value, or leave the argument out."
            )


def _of_error(error: LockkeeperError, session: Session) -> Result:
    _trace(session)
    session.complain(f"{PROGRAM}: {error}")
    facts = {name: getattr(error, name) for name in _FACTS if getattr(error, name, None)}
    command = getattr(error, "command", None)
    if isinstance(command, str):
        facts["next_command"] = command
    data = {"error": str(error), "error_type": type(error).__name__, **facts}
    return _unchecked(data) if session.checking else Result(exit_code=error.exit_code, data=data)


def _unchecked(data: dict[str, Any]) -> Result:
    return Result(REFUSED, data, outcome="could not check")


def _of_usage(error: Exception, session: Session) -> Result:
    message = str(error.format_message())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        session.complain(message)
        message = "no command was given"
    else:
        session.complain(f"{PROGRAM}: {message}\nTry: {path} --help")
    return Result(
        exit_code=REFUSED, data={"error": message, "error_type": "UsageError", "help": f"{path} --help"}
    )


def _of_interruption(session: Session) -> Result:
    return _ended_outside_a_run("Stopped: interrupted.", "Interrupted", session)


def _of_bug(error: Exception, session: Session) -> Result:
    _trace(session)
    message = f"Unexpected {type(error).__name__}: {redact(str(error))}."
    hint = "" if session.debug else " This is a bug in Lockkeeper; --debug shows where."
    return _ended_outside_a_run(message + hint, type(error).__name__, session)


def _ended_outside_a_run(message: str, kind: str, session: Session) -> Result:
    """Return the result of an end that no report tells of: after a change has begun, nothing is known."""
    data = {"error": message, "error_type": kind}
    if session.changing is None:
        session.complain(f"{PROGRAM}: {message}")
        return _unchecked(data) if session.checking else Result(exit_code=FAILED, data=data)
    session.complain(
        f"{PROGRAM}: {message} It is not known how far the run had come. Next: {session.changing}"
    )
    return Result(exit_code=NEEDS_HUMAN, data={**data, "next_command": session.changing})


def _trace(session: Session) -> None:
    if session.debug:
        session.stderr.write(redact(traceback.format_exc()))
