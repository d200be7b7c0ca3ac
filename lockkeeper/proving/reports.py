"""A migration test for people and for CI: a terminal table, Markdown, and JUnit XML. Pure functions."""

from __future__ import annotations

from xml.etree import ElementTree

from rich.console import Group, RenderableType
from rich.text import Text

from lockkeeper.models import CheckState
from lockkeeper.proving.models import MigrationTestReport, ProofState, RevisionProof
from lockkeeper.reports import format_duration, plain, text_table
from lockkeeper.risk_report import effect_lines

OUTCOMES = {0: "proven", 1: "findings", 2: "could not check"}
_HEADER = ("revision", "message", "state", "rows", "upgrade", "downgrade", "again")
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]#|~!<>"})


def summary(report: MigrationTestReport) -> str:
    """Return the result in one line."""
    total = len(report.proofs)
    parts = [f"{report.tested} of {total} revisions tested up, down and up again ({report.coverage:.0%})"]
    if report.destination != "heads":
        parts.append(f"up to {report.destination}")
    if report.declared:
        parts.append(f"{report.declared} declared irreversible")
    if report.generated_rows is not None:
        parts.append(generated_line(report.generated_rows))
    findings = sum(len(proof.counting) for proof in report.proofs)
    findings += sum(check.state is CheckState.FAILED for check in report.checks)
    parts.append(f"{findings} findings" if findings != 1 else "1 finding")
    unknown = sum(proof.state is ProofState.UNKNOWN for proof in report.proofs)
    unknown += sum(check.state is CheckState.UNKNOWN for check in report.checks)
    if unknown:
        parts.append(f"{unknown} could not be checked")
    return f"{OUTCOMES[report.exit_code]}: " + ", ".join(parts)


def generated_line(rows: dict[str, int]) -> str:
    """Say how many rows were made up."""
    return f"{sum(rows.values())} rows generated in {len(rows)} tables"


def proof_rows(report: MigrationTestReport) -> list[tuple[str, ...]]:
    """Return one line a revision."""
    return [
        (
            proof.revision, proof.message, proof.state.value, "" if proof.rows is None else str(proof.rows),
            *map(_seconds, (proof.upgrade_s, proof.downgrade_s, proof.upgrade_again_s)),
        )
        for proof in report.proofs
    ]  # fmt: skip


def _seconds(duration: float | None) -> str:
    return "" if duration is None else format_duration(duration)


def proof_lines(proof: RevisionProof) -> list[str]:
    """Say everything that is to be known of one revision."""
    lines = [
        f"{one.kind.value}: {one.message}"
        + (f" (allowed: {one.allowed_because})" if one.allowed_because else "")
        for one in proof.findings
    ]
    reason = [f"{proof.state.value}: {proof.reason}"] if proof.reason else []
    data = [f"changes data: {text}" for text in proof.data_changes]
    return [*reason, *lines, *data, *effect_lines(proof.changes, proof.own_writes)]


def check_lines(report: MigrationTestReport) -> list[str]:
    """Say which checks at the heads were not OK."""
    return [
        f"{check.state.value}: {check.message}" for check in report.checks if check.state is not CheckState.OK
    ]


def terminal_report(report: MigrationTestReport) -> RenderableType:
    """Return the whole result for ``rich.console.Console.print``."""
    parts: list[RenderableType] = [text_table(_HEADER, proof_rows(report))]
    for proof in report.proofs:
        if lines := proof_lines(proof):
            parts.append(Text(plain(f"\n{proof.revision} {proof.message}".rstrip()), style="bold"))
            parts.append(Text(plain("\n".join(f"  {line.rstrip()}" for line in lines))))
    if lines := check_lines(report):
        parts += [Text("\nAt the heads", style="bold"), Text(plain("\n".join(f"  {line}" for line in lines)))]
    parts.append(Text(plain("\n" + summary(report)), style="red" if report.exit_code else "green"))
    return Group(*parts)


def markdown_report(report: MigrationTestReport) -> str:
    """Return the whole result as Markdown, for Prefect's artifacts, files and CI summaries."""
    data = f"{report.sample_data} after {report.sample_data_after}" if report.sample_data else "none"
    parts = [
        "# Migration test: " + _escaped(summary(report)),
        f"Project {_escaped(report.project)}, PostgreSQL {report.server_version_num // 10000}, "
        f"baseline: {_escaped(report.baseline or 'none')}, sample data: {_escaped(data)}, "
        f"{format_duration(report.duration_s)}.",
        "\n".join([
            "| " + " | ".join(_HEADER) + " |",
            "|" + " --- |" * len(_HEADER),
            *("| " + " | ".join(map(_escaped, row)) + " |" for row in proof_rows(report)),
        ]),
    ]  # fmt: skip
    for proof in report.proofs:
        if lines := proof_lines(proof):
            parts += [f"## {_escaped(proof.revision)}", "\n".join(f"- {_escaped(line)}" for line in lines)]
    if lines := check_lines(report):
        parts += ["## At the heads", "\n".join(f"- {_escaped(line)}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return " ".join(plain(text).split()).translate(_MARKDOWN)


def junit_report(report: MigrationTestReport) -> str:
    """Return JUnit XML: one test case a revision, and one a check; unchecked ones are errors."""
    suite = ElementTree.Element("testsuite", name="lockkeeper", time=f"{report.duration_s:.3f}")
    counts = {"failure": 0, "error": 0, "skipped": 0}
    for proof in report.proofs:
        name = f"{proof.revision} {proof.message}".rstrip()
        case = _case(suite, "revision", name, proof.duration_s)
        element = {
            ProofState.FAILED: "failure", ProofState.UNKNOWN: "error", ProofState.IRREVERSIBLE: "skipped",
        }.get(proof.state)  # fmt: skip
        _add(case, element, proof_lines(proof), counts)
    for check in report.checks:
        elements = {CheckState.FAILED: "failure", CheckState.UNKNOWN: "error"}
        _add(_case(suite, "check", check.name, 0.0), elements.get(check.state), [check.message], counts)
    suite.set("tests", str(len(report.proofs) + len(report.checks)))
    for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(counts[element]))
    return _document(suite)


def junit_of_an_error(message: str, kind: str) -> str:
    """Return JUnit XML of a test that ended before it could say anything of the revisions: one error."""
    suite = ElementTree.Element("testsuite", name="lockkeeper", tests="1", failures="0", errors="1")
    case = _case(suite, "run", "migration test", 0.0)
    _add(case, "error", [f"could not check: {message}"], {"error": 0})
    case[0].set("type", kind)
    return _document(suite)


def _document(suite: ElementTree.Element) -> str:
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, kind: str, name: str, seconds: float) -> ElementTree.Element:
    values = {"classname": kind, "name": plain(name), "time": f"{seconds:.3f}"}
    return ElementTree.SubElement(suite, "testcase", values)


def _add(case: ElementTree.Element, element: str | None, lines: list[str], counts: dict[str, int]) -> None:
    text = plain("\n".join(lines))
    if element is None:
        if text:
            ElementTree.SubElement(case, "system-out").text = text
        return
    counts[element] += 1
    message = text.splitlines()[0] if text else ""
    ElementTree.SubElement(case, element, message=message).text = text
