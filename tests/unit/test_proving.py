"""Findings, declarations and reports of proofs, without a database."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from lockkeeper.config import AlembicSettings
from lockkeeper.errors import ConfigurationError
from lockkeeper.models import DataFingerprint, Revision, TableFingerprint, utc_now
from lockkeeper.postgres.fingerprint import RowDifferences
from lockkeeper.proving import FindingKind, MigrationTestReport, ProofState, RevisionProof, read_declarations
from lockkeeper.proving.data_findings import data_findings
from lockkeeper.proving.models import Finding, Rehearsal
from lockkeeper.proving.reports import junit_report, markdown_report, proof_lines, summary


def fingerprint(rows: int, sequence: str = "1,true", **columns: str) -> DataFingerprint:
    table = TableFingerprint(table="public.t", rows=rows, digest="+".join(columns.values()), columns=columns)
    return DataFingerprint(tables={"public.t": table}, sequences={"public.s": sequence})


def kinds(before: DataFingerprint, after: DataFingerprint) -> list[tuple[str, str]]:
    return [(one.kind.value, one.subject) for one in data_findings(before, after)]


def test_each_way_to_lose_data_is_named() -> None:
    before = fingerprint(3, a="1", b="2")
    assert kinds(before, before) == []
    assert kinds(before, fingerprint(3, a="1", b="9")) == [("data changed", "public.t.b")]
    assert kinds(before, fingerprint(3, a="1")) == [("data lost", "public.t.b")]
    assert kinds(before, fingerprint(2, a="1", b="2")) == [("data lost", "public.t")]
    assert kinds(before, fingerprint(4, a="1", b="2")) == [("residue", "public.t")]
    assert kinds(before, DataFingerprint(tables={})) == [("data lost", "public.t")]


def told(before: DataFingerprint, after: DataFingerprint, closer: RowDifferences) -> list[str]:
    return [one.message for one in data_findings(before, after, lambda _table: closer)]


def test_a_finding_says_of_how_many_rows_it_speaks() -> None:
    before = fingerprint(1000, a="1", b="2")
    some = RowDifferences(
        keyed=True, rows=1000, looked_at=100, changed={"b": 7}, changed_keys={"b": ("a=1",)}, missing=1
    )
    assert told(before, fingerprint(1000, a="1", b="9"), some) == [
        "column public.t.b has other values after the downgrade: "
        "7 of the 100 rows that were remembered, of 1000, differ (a=1; ...), 1 is missing"
    ]
    assert told(before, fingerprint(990, a="1", b="2"), some) == [
        "public.t had 1000 rows and has 990 after the downgrade: "
        "of the 100 rows that were remembered 1 is missing, column b differs in 7 (a=1; ...)"
    ]
    assert told(before, fingerprint(1000, a="1"), some) == [
        "column public.t.b is gone with the values of 1000 rows (a=1; ...)"
    ]
    none = RowDifferences(keyed=True, rows=1000, looked_at=100)
    assert told(before, fingerprint(990, a="1", b="2"), none) == [
        "public.t had 1000 rows and has 990 after the downgrade: "
        "of the 100 rows that were remembered none differs"
    ]


def test_rows_without_a_key_are_only_counted() -> None:
    keyless = RowDifferences(keyed=False, rows=3, looked_at=3, changed={"b": 2})
    assert told(fingerprint(3, a="1", b="2"), fingerprint(3, a="1", b="9"), keyless) == [
        "column public.t.b has other values after the downgrade: "
        "at least 2 of 3 rows differ (without a key it cannot be told which)"
    ]


def test_rows_that_came_hide_none_that_went_or_changed() -> None:
    before, after = fingerprint(3, a="1", b="2"), fingerprint(5, a="1", b="9")
    known = {"keyed": True, "rows": 3, "looked_at": 3, "unexpected": 3, "unexpected_keys": ("a=9",)}
    gone = RowDifferences(**known, missing=1, missing_keys=("a=2",))
    (finding,) = data_findings(before, after, lambda _table: gone)
    assert (finding.kind, finding.rows, finding.keys) == (FindingKind.DATA_LOST, 1, ("a=2",))
    other = RowDifferences(**known, changed={"b": 2}, changed_keys={"b": ("a=1", "a=3")})
    (finding,) = data_findings(before, after, lambda _table: other)
    assert (finding.kind, finding.rows, finding.keys) == (FindingKind.DATA_CHANGED, 2, ("a=1", "a=3"))
    (finding,) = data_findings(before, after, lambda _table: RowDifferences(**known))
    assert (finding.kind, finding.rows, finding.keys) == (FindingKind.RESIDUE, 3, ("a=9",))
    keyless = RowDifferences(keyed=False, rows=3, looked_at=3, unexpected=2, changed={"b": 2})
    assert told(before, after, keyless) == [
        "public.t had 3 rows and has 5 after the downgrade: column b differs in at least 2"
    ]


def test_a_column_without_a_value_takes_none_with_it() -> None:
    before, after = fingerprint(3, a="1", b="2"), fingerprint(3, a="1")
    known = {"keyed": True, "rows": 3}
    assert told(before, after, RowDifferences(**known, looked_at=3)) == []
    assert told(before, after, RowDifferences(**known, looked_at=2)) == [
        "column public.t.b is gone with the values of 3 rows"
    ], "not all of them were looked at"


def test_values_that_were_exchanged_are_told_by_their_rows() -> None:
    closer = RowDifferences(
        keyed=True, rows=3, looked_at=3, changed={"b": 2}, changed_keys={"b": ("a=1", "a=2")}
    )
    before = fingerprint(3, a="1", b="2")
    table = before.tables["public.t"].model_copy(update={"digest": "another"})
    after = before.model_copy(update={"tables": {"public.t": table}})
    (finding,) = data_findings(before, after, lambda _table: closer)
    assert finding.message == (
        "values were exchanged between the rows of public.t (3 rows): column b differs in 2 (a=1; a=2)"
    )
    assert (finding.rows, finding.keys) == (2, ("a=1", "a=2"))


def test_a_sequence_that_is_further_on_is_no_loss_and_one_that_is_behind_is() -> None:
    before = fingerprint(1, "5,true", a="1")
    assert kinds(before, fingerprint(1, "9,true", a="1")) == []
    assert kinds(before, fingerprint(1, "2,true", a="1")) == [("data changed", "sequence public.s")]


@pytest.mark.parametrize("line", ["irreversible = r1", "irreversible = r1:", "leaves = r1: no subject"])
def test_a_declaration_without_a_reason_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nx = %(here)s\n[lockkeeper]\n{line}\n")
    with pytest.raises(ConfigurationError):
        read_declarations(AlembicSettings(config_file=tmp_path / "alembic.ini"), [Revision(id="r1")])


def test_a_pattern_declares_many_revisions_and_the_nearest_word_counts(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text(
        "[lockkeeper]\nirreversible =\n    *: too old\n    r2: too big\n"
        "leaves =\n    r* public.t: not needed\n    r1 public.t: a copy\n"
    )
    settings = AlembicSettings(config_file=tmp_path / "alembic.ini")
    revisions = [Revision(id="r1"), Revision(id="r2"), Revision(id="r3", irreversible_because="gone")]
    found = read_declarations(settings, revisions)
    assert found.irreversible == {"r1": "too old", "r2": "too big", "r3": "gone"}
    assert (found.allows("r1", "public.t"), found.allows("r2", "public.t")) == ("a copy", "not needed")
    with pytest.raises(ConfigurationError, match="r2"):
        read_declarations(settings, revisions[:1])
    pending = read_declarations(settings, revisions[:1], whole_project=False)
    assert pending.irreversible == {"r1": "too old"}, "what is declared of others is not for this plan"


def report(*states: ProofState) -> MigrationTestReport:
    finding = Finding(kind=FindingKind.RESIDUE, subject="type <a>", message="left <a> & \x01 ]]> behind")
    proofs = [
        RevisionProof(
            revision=f"r{number}",
            state=state,
            findings=(finding,) if state is ProofState.FAILED else (),
            upgrade_again_s=1.0 if state in (ProofState.PASSED, ProofState.FAILED) else None,
        )
        for number, state in enumerate(states)
    ]
    return MigrationTestReport(project="p", started_at=utc_now(), proofs=tuple(proofs))


def test_what_could_not_be_checked_never_passes() -> None:
    assert report(ProofState.PASSED, ProofState.IRREVERSIBLE).exit_code == 0
    assert report(ProofState.PASSED, ProofState.UNKNOWN).exit_code == 2
    assert report(ProofState.UNKNOWN, ProofState.FAILED).exit_code == 1
    assert report(ProofState.PASSED, ProofState.UNKNOWN).coverage == 0.5


def test_the_xml_is_well_formed_whatever_the_findings_say() -> None:
    suite = ElementTree.fromstring(junit_report(report(*ProofState)).split("\n", 1)[1])
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert "<a>" not in markdown_report(report(ProofState.FAILED)).replace("\\<a\\>", "")
    assert summary(report(ProofState.FAILED)).startswith("findings: 1 of 1")


def test_what_a_revision_changed_and_wrote_is_in_every_report_after_its_findings() -> None:
    (failed,) = report(ProofState.FAILED).proofs
    seen = {"changes": ("adds table public.t",), "own_writes": {"public.u": (2, 0, 1)}}
    proof = failed.model_copy(update=seen)
    told = ["changes: adds table public.t.", "writes rows of public.u: 2 inserted, 1 deleted."]
    assert proof_lines(proof)[1:] == told
    assert proof_lines(proof)[0].startswith("residue: ")
    whole = report().model_copy(update={"proofs": (proof,)})
    for text in (markdown_report(whole), junit_report(whole)):
        assert all(line in text for line in told)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ("pp", "2 revisions applied, reverted and applied again"),
        ("i", "1 applied and not reverted (declared irreversible)"),
        (
            "pi",
            "1 revisions applied, reverted and applied again, 1 applied and not reverted "
            "(declared irreversible)",
        ),
    ],
)
def test_a_revision_that_was_never_reverted_is_not_said_to_have_been(states: str, told: str) -> None:
    kinds = {"p": ProofState.PASSED, "i": ProofState.IRREVERSIBLE}
    proofs = report(*(kinds[one] for one in states)).proofs
    rehearsal = Rehearsal(
        run_id="r", target="shop", backup_id="b", database="s", started_at=utc_now(), proofs=proofs
    )
    assert rehearsal.summary == told
