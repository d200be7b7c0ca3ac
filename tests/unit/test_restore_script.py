r"""pg_dump's script of data comes apart into the same parts wherever its bytes are cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lockkeeper.backup import script
from lockkeeper.backup.script import Rows, Setting, Statement, script_parts
from lockkeeper.errors import BackupError

SCRIPT = rb"""--
-- PostgreSQL database dump
--

\restrict a1b2

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: shop
--

COPY public.users (id, note) FROM stdin;
1	a
2	\\.
3	COPY public.x (y) FROM stdin;
\.


COPY public.empty (id) FROM stdin;
\.

SELECT pg_catalog.setval('public.users_id_seq', 3, true);
BEGIN;

SELECT pg_catalog.lo_open('16400', 131072);
SELECT pg_catalog.lowrite(0, '\x6162');
SELECT pg_catalog.lo_close(0);

COMMIT;


COPY public."odd ""name" ("a;b") FROM stdin;
x
\.

\unrestrict a1b2
"""


def chunked(text: bytes, size: int) -> Iterable[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def rows_of(parts: list[Rows | Setting | Statement]) -> dict[tuple[int, bytes], bytes]:
    found: dict[tuple[int, bytes], bytes] = {}
    for part in parts:
        if isinstance(part, Rows):
            key = (part.number, part.copy)
            found[key] = found.get(key, b"") + part.text
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("piece", [1, 5, 10_000])
def test_the_parts_are_the_same_wherever_the_script_is_cut(
    size: int, piece: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(script, "PIECE_BYTES", piece)
    parts = list(script_parts(chunked(SCRIPT, size)))
    assert rows_of(parts) == {
        (1, b"COPY public.users (id, note) FROM stdin;\n"): (
            b"1\ta\n2\t\\\\.\n3\tCOPY public.x (y) FROM stdin;\n"
        ),
        (3, b'COPY public."odd ""name" ("a;b") FROM stdin;\n'): b"x\n",
    }
    settings = [part.text for part in parts if isinstance(part, Setting)]
    assert [text.split(b" ", 2)[1] for text in settings] == [
        b"statement_timeout", b"client_encoding", b"pg_catalog.set_config('search_path',",
    ]  # fmt: skip
    statements = b"".join(part.text for part in parts if isinstance(part, Statement)).splitlines()
    assert [line.split(b"(")[0] for line in statements] == [
        b"SELECT pg_catalog.setval", b"BEGIN;", b"SELECT pg_catalog.lo_open", b"SELECT pg_catalog.lowrite",
        b"SELECT pg_catalog.lo_close", b"COMMIT;",
    ]  # fmt: skip


def test_pieces_are_whole_rows_of_bounded_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(script, "PIECE_BYTES", 1000)
    rows = b"".join(b"%d\t%s\n" % (number, b"x" * (number % 50)) for number in range(2000))
    text = b"COPY public.t (a, b) FROM stdin;\n" + rows + b"\\.\n"
    pieces = [part.text for part in script_parts(chunked(text, 4096)) if isinstance(part, Rows)]
    assert b"".join(pieces) == rows
    assert all(piece.endswith(b"\n") and len(piece) <= 1000 for piece in pieces)


def test_a_row_longer_than_a_piece_stays_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(script, "PIECE_BYTES", 100)
    text = b"COPY public.t (a) FROM stdin;\n" + b"y" * 5000 + b"\nshort\n\\.\n"
    pieces = [part.text for part in script_parts(chunked(text, 64)) if isinstance(part, Rows)]
    assert b"".join(pieces) == b"y" * 5000 + b"\nshort\n"
    assert pieces[0] == b"y" * 5000 + b"\n"


@pytest.mark.parametrize("end", [len(SCRIPT.split(b"2\t")[0]), SCRIPT.index(b"\\.\n\n\nCOPY") + 1])
def test_a_script_that_ends_among_rows_is_refused(end: int):
    with pytest.raises(BackupError, match="ends among a table's rows"):
        list(script_parts([SCRIPT[:end]]))


def test_a_command_of_psql_is_refused():
    with pytest.raises(BackupError, match="unknown command"):
        list(script_parts([b"\\! rm -rf /\n"]))
