"""The order of a rename, written once; the command line and the Prefect flow both play it.

    expand -> backfill -> validate -> (approve the flip) -> flip -> observe
           -> (approve the drop) -> scream test -> contract

It is played from its first line every time, with the answers that are known by then: each stage asks the
ledger in the target's database whether it is done. So a run that was killed, or that waited for days without
a process, goes on by being started again. Until the contract an abort brings back the schema of before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lockkeeper.by_hand import ByHand
from lockkeeper.errors import LockkeeperError, NeedsHumanError, RefusedError
from lockkeeper.measured import BackfillSeries
from lockkeeper.models import Approval, Decision, Outcome, RunReport
from lockkeeper.operations import play_operation
from lockkeeper.record import RunRecord
from lockkeeper.rename import RenameStatus
from lockkeeper.renaming.request import RenameRequest
from lockkeeper.renaming.story import parity_line, rows_line
from lockkeeper.runbook import MigrationRequest

FLIP, DROP = "approve-flip", "approve-drop"
QUESTIONS = (FLIP, DROP)
_CONTRACTED = ("contracted", "dropped")
_PAST_OBSERVING = ("screaming", "screamed", *_CONTRACTED)


class Backfilled(NamedTuple):
    """Where the ledger stands after the backfill, and how it went in this run, where it took a while."""

    status: RenameStatus
    series: BackfillSeries | None


class RenameSteps(Protocol):
    """The stages. Each can be repeated, returns at once when it is done, raises a LockkeeperError else."""

    @property
    def by_hand(self) -> ByHand:
        """The commands with which somebody goes on where this run stops."""
        ...

    def expand(self) -> RenameStatus:
        """Add the new column, written by the database together with the old one."""
        ...

    def backfill(self) -> Backfilled:
        """Fill the rows that were there before, in batches, under the throttle."""
        ...

    def validate(self) -> RenameStatus:
        """Carry indexes and constraints over, and prove that both columns agree."""
        ...

    def flip(self, approval: Approval) -> RenameStatus:
        """Raise the flag step by step; raises FlagRevertedError when it fell back because something broke."""
        ...

    def observe(self) -> RenameStatus:
        """Prove again that both columns agree, now that applications read the new one."""
        ...

    def scream(self) -> RenameStatus:
        """Hide the old column for a while; it is back when errors appear, and in any case at the end."""
        ...

    def contract(self, approval: Approval) -> RenameStatus:
        """Move the old column into quarantine."""
        ...

    def abort(self, approval: Approval) -> RenameStatus:
        """Bring back the flag and the schema of before."""
        ...

    def status(self) -> RenameStatus:
        """Say where the ledger stands; reads only."""
        ...

    def question(self, key: str) -> str:
        """Return the measured facts that an approver must know, in Markdown; reads only."""
        ...

    def journal(self, report: RunReport) -> str | None:
        """Write down where the run stands; returns a warning instead of raising."""
        ...

    def notify(self, report: RunReport) -> str | None:
        """Tell the team; returns a warning instead of raising."""
        ...


@dataclass(frozen=True)
class Question:
    """What a human must answer before it goes on; ``text`` is Markdown.

    ``key`` is one of ``QUESTIONS``. ``asked_as`` also says of which attempt it was asked: a change that was
    aborted or undone since, and begun anew, is another one, and a yes to the former is none to it.
    """

    key: str
    asked_as: str
    text: str


@dataclass(frozen=True)
class RenameEnd:
    """How far a run has come: it has ended, or it waits for an answer."""

    report: RunReport
    question: Question | None = None


def run_rename(
    steps: RenameSteps,
    run: MigrationRequest,
    request: RenameRequest,
    answers: Mapping[str, Approval],
) -> RenameEnd:
    """Play until the end, or until the first question that ``answers`` has no answer to. Can run again.

    An answer's key is the question's (one given at a shell, to what stands now), or ``Question.asked_as``.
    Takes the migration lock of the database for the stages that change its schema, not for the backfill
    and not while anybody is waited for.
    """
    asked: list[Question] = []

    def play(record: RunRecord) -> None:
        record.update(requested_revision=request.subject)
        try:
            _Rename(steps, record, request, answers, asked.append).play()
        except (RefusedError, NeedsHumanError):
            raise
        except LockkeeperError as error:
            record.conclude(Outcome.FAILED, error, next_command=steps.by_hand.inspect_renames())
            raise

    report = play_operation("rename", steps, run, play)
    return RenameEnd(report, asked[0] if asked else None)


@dataclass
class _Rename:
    steps: RenameSteps
    record: RunRecord
    request: RenameRequest
    answers: Mapping[str, Approval]
    ask: Callable[[Question], None]

    def play(self) -> None:
        refusal = next((one for one in self.answers.values() if one.decision is not Decision.APPROVE), None)
        if refusal is not None:
            self.stop(refusal)
            return
        if self.answers:
            self.refuse_what_is_gone()
        self.prepare()
        flip = self.approval(FLIP, "flip")
        if flip is None:
            return
        self.switch(flip)
        drop = self.approval(DROP, "contract")
        if drop is None:
            return
        self.finish(drop)

    def stop(self, answer: Approval) -> None:
        """Do what a no means: leave everything where it is, or bring everything back.

        Raises:
            RefusedError: an abort was asked for of an attempt that is over, and another one has begun since.
        """
        if answer.decision is Decision.ABORT:
            if not (answer.key in QUESTIONS or any(self.is_about_now(key, answer) for key in QUESTIONS)):
                line = self.by_hand.abort_rename(self.request.asked())
                raise RefusedError(
                    f"The abort was of an earlier attempt at {self.request.subject}: nothing was touched. "
                    f"What stands now is aborted with: {line}"
                )
            with self.record.step("abort") as note:
                self.steps.abort(answer)
                note(f"{answer}; flag and schema are as before")
            self.record.conclude(Outcome.ABORTED)
        else:
            with self.record.step("rejected") as note:
                note(str(answer))
            self.record.conclude(Outcome.REJECTED, next_command=self.again())

    def refuse_what_is_gone(self) -> None:
        """Refuse a yes to a change that was aborted meanwhile: begun anew, it would flip without being asked.

        Raises:
            RefusedError: the change was aborted, or the database does not know it (it was restored, say).
        """
        if self.steps.status().stage == "aborted":
            raise RefusedError(
                f"{self.request.subject} was approved, but has been aborted since: nothing was touched. "
                f"Begin it anew: {self.again()}"
            )

    @property
    def by_hand(self) -> ByHand:
        return self.steps.by_hand

    def again(self) -> str:
        return self.by_hand.begin_rename(self.request.asked())

    def prepare(self) -> None:
        with self.record.step("expand") as note:
            note(f"stage {self.steps.expand().stage}")
        with self.record.step("backfill") as note:
            filled = self.steps.backfill()
            self.record.update(backfill=filled.series)
            note(rows_line(filled.status))
        with self.record.step("validate") as note:
            note(parity_line(self.steps.validate()))

    def approval(self, key: str, command: str) -> Approval | None:
        """Return the yes to a question; without one to this attempt, ask and conclude that the run waits."""
        answer = self.answers.get(key)
        if answer and (answer.key == key or self.is_about_now(key, answer)):
            return answer
        self.ask(Question(key, self.asked_as(key), self.steps.question(key)))
        line = self.by_hand.approve_rename(command, self.request.asked())
        self.record.conclude(Outcome.WAITING, next_command=line)
        return None

    def asked_as(self, key: str) -> str:
        """Return a question's key with the attempt that stands now."""
        return f"{key}-{self.steps.status().round}"

    def is_about_now(self, key: str, answer: Approval) -> bool:
        """Whether an answer is to that question of the attempt that stands now, asked again or not."""
        return f"{answer.key}-".startswith(f"{self.asked_as(key)}-")

    def switch(self, approval: Approval) -> None:
        if self.steps.status().stage in _PAST_OBSERVING:
            return
        with self.record.step("flip") as note:
            note(f"{approval}; stage {self.steps.flip(approval).stage}")
        with self.record.step("observe") as note:
            note(parity_line(self.steps.observe()))

    def finish(self, approval: Approval) -> None:
        if self.steps.status().stage not in _CONTRACTED:
            with self.record.step("scream test") as note:
                note(f"stage {self.steps.scream().stage}")
        with self.record.step("contract") as note:
            status = self.steps.contract(approval)
            until = status.quarantine_until
            note(f"{approval}; in quarantine" + (f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""))
