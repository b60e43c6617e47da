"""The retrieval index: how files are cut, that a version means its content, and that any text is a question."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.data.index import Index, Passage, chunk, version_of
from bedplate.errors import InvalidInput, NotFound, Tampered, Unavailable

HANDBOOK = Path(__file__).parents[2] / "examples" / "harbour-mutual" / "handbook"
LEAVE = (
    "# Annual leave\n\nWhat the chapter is about.\n\n## Carrying leave over\n\nFive days.\n\n## Selling\nThree days.\n"
)
PASSAGES = chunk({"03-annual-leave.md": LEAVE})


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Index:
    files = {str(path): path.read_text(encoding="utf-8") for path in HANDBOOK.glob("*.md")}
    return Index.build(tmp_path_factory.mktemp("index"), chunk(files))


def test_each_section_is_a_passage_and_what_precedes_them_is_one() -> None:
    assert chunk({"docs/03-annual-leave.md": LEAVE}) == [
        Passage("03-annual-leave#annual-leave", "Annual leave", "Annual leave", "What the chapter is about."),
        Passage("03-annual-leave#carrying-leave-over", "Annual leave", "Carrying leave over", "Five days."),
        Passage("03-annual-leave#selling", "Annual leave", "Selling", "Three days."),
    ]


def test_anchors_are_made_as_on_github() -> None:
    text = (
        "# T\n## Carer's leave, paid ##\na\n## On-call\nb\n## On-call\nc\n### On-call\n## On-call\nd\n## Über 48 %\ne"
    )
    refs = [passage.ref for passage in chunk({"f.md": text})]
    assert refs == ["f#carers-leave-paid", "f#on-call", "f#on-call-1", "f#on-call-3", "f#über-48-"]


def test_files_come_in_the_order_of_their_names_wherever_they_are() -> None:
    files = {"b/01.md": "one", "a-b/02.md": "two", "c\\00.md": "nought"}
    assert [passage.text for passage in chunk(files)] == ["nought", "one", "two"]
    assert chunk(files)[1] == Passage("01#01", "01", "01", "one")


def test_fenced_blocks_hold_no_headings_and_deeper_headings_stay_in_the_text() -> None:
    text = (
        "\ufeff# T\r\n## A\r\n```\r\n## not one\r\n~~~\r\n```\r\n### deeper\r\n#tag\r\n# second\r\n## \r\n## B\r\n\r\n"
    )
    (only,) = chunk({"f.md": text})
    assert only.heading == "A"
    assert only.text == "```\n## not one\n~~~\n```\n### deeper\n#tag\n# second\n##"


@pytest.mark.parametrize(
    "files", [{}, {"empty.md": ""}, {"bare.md": "# Title\n## Section\n"}, {"a/x.md": "text", "b/x.md": "text"}]
)
def test_nothing_to_retrieve_and_one_name_twice_are_refused_with_the_place_and_the_fix(files: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        chunk(files)
    assert refused.value.hint
    assert all(name in refused.value.message for name in list(files)[-1:])


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))))
def test_whatever_is_cut_has_references_of_its_own(files: dict[str, str]) -> None:
    try:
        passages = chunk(files)
    except InvalidInput:
        return
    assert len({passage.ref for passage in passages}) == len(passages)
    assert all(passage.text.strip() and "\n" not in passage.ref for passage in passages if "\n" not in "".join(files))


def test_the_version_is_of_the_content_and_its_order() -> None:
    assert version_of(PASSAGES) == version_of(list(PASSAGES))
    assert version_of(PASSAGES) != version_of(PASSAGES[::-1])
    with pytest.raises(InvalidInput):
        version_of([Passage("a", "b", "c", "\ud800")])


def test_building_twice_writes_once_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "index"
    first = Index.build(folder, PASSAGES)
    (file,) = folder.iterdir()
    before = (file.name, file.stat().st_ino)
    assert Index.build(folder, PASSAGES).version == first.version == version_of(PASSAGES)
    (file,) = folder.iterdir()
    assert (file.name, file.stat().st_ino) == before
    assert Index.open(folder, first.version).passages == tuple(PASSAGES)


def test_an_index_of_nothing_and_of_one_reference_twice_are_refused(tmp_path: Path) -> None:
    for passages in ([], PASSAGES * 2):
        with pytest.raises(InvalidInput):
            Index.build(tmp_path, passages)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["0" * 64, "../secret", ""])
def test_what_was_never_built_is_not_found(tmp_path: Path, version: str) -> None:
    with pytest.raises(NotFound):
        Index.open(tmp_path, version)


def test_a_place_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 64}.db").mkdir()
    with pytest.raises(Unavailable):
        Index.open(tmp_path, "0" * 64)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        Index.build(tmp_path / "file", PASSAGES)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE passage SET body = 'Fifty days.' WHERE rowid = 2",
        "UPDATE passage_content SET c3 = 'Fifty days.' WHERE id = 2",
        "DELETE FROM passage WHERE rowid = 3",
        "UPDATE passage SET rowid = 9 WHERE rowid = 3",
        "DROP TABLE passage",
        "DELETE FROM passage_data WHERE id > 10",
    ],
)
def test_a_changed_file_is_not_opened(tmp_path: Path, change: str) -> None:
    index = Index.build(tmp_path, PASSAGES)
    database = apsw.Connection(str(tmp_path / f"{index.version}.db"))
    database.execute(change)
    database.close()
    with pytest.raises(Tampered, match=index.version):
        Index.open(tmp_path, index.version)
    with pytest.raises(Tampered, match=index.version):
        Index.build(tmp_path, PASSAGES)


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\x00" + bytes(5000)])
def test_a_file_that_is_no_index_is_not_opened(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{'a' * 64}.db").write_bytes(content)
    with pytest.raises(Tampered):
        Index.open(tmp_path, "a" * 64)


def test_any_broken_byte_is_noticed_or_makes_no_difference(tmp_path: Path) -> None:
    index = Index.build(tmp_path, PASSAGES)
    path = tmp_path / f"{index.version}.db"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            opened = Index.open(tmp_path, index.version)
        except Tampered:
            continue
        assert opened.passages == tuple(PASSAGES)


def test_what_was_verified_stays_when_the_file_changes_afterwards(tmp_path: Path) -> None:
    index = Index.build(tmp_path, PASSAGES)
    (tmp_path / f"{index.version}.db").write_bytes(b"gone")
    assert index.search("selling", 1) == [PASSAGES[2]]


def test_the_best_passage_comes_first(handbook: Index) -> None:
    found = handbook.search("Which form do I need to carry leave over?", 4)
    assert len(found) == 4
    assert found[0].ref == "03-annual-leave#carrying-leave-over"
    assert handbook.search("How many hours of sleep do whistleblowers need?", 1)[0].ref.startswith("21-whistleblowing")


@pytest.mark.parametrize(
    "question",
    [
        "",
        " ",
        "What is it?",
        "\0",
        "🦀",
        "\ud800",
        '"',
        "'; --",
        "² ½ ⅷ",
        "x" * 100_000,
        "_" * 9,
        "zzyzx",
    ],
)
def test_a_question_without_words_of_ours_finds_nothing(handbook: Index, question: str) -> None:
    assert handbook.search(question, 4) == []


@pytest.mark.parametrize(
    "question", ['leave" OR', "NEAR(leave, 2)", "body : leave*", "^leave + {x}", "leave\0", "(leave", "-leave AND NOT"]
)
def test_the_syntax_of_the_search_engine_is_plain_text(handbook: Index, question: str) -> None:
    assert len(handbook.search(question, 3)) == 3


def test_a_question_of_any_length_is_searched(handbook: Index) -> None:
    assert handbook.search(" ".join(f"leave{n} leave" for n in range(10_000)), 2)
    assert len(handbook.search("leave", 10**30)) < len(handbook.passages)
    assert handbook.search("leave", 0) == handbook.search("leave", -1) == []


@given(st.text(), st.integers(-1, 9))
def test_any_text_is_a_question(question: str, top: int) -> None:
    assert len(SHARED.search(question, top)) <= max(0, top)


def test_threads_search_at_once(handbook: Index) -> None:
    questions = ["annual leave", "sick pay", "overtime on Saturday", "pension", "data breach"] * 40
    alone = [handbook.search(question, 4) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda question: handbook.search(question, 4), questions)) == alone


@pytest.fixture(scope="module", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    global SHARED  # noqa: PLW0603  hypothesis does not mix with fixtures that change
    SHARED = Index.build(tmp_path_factory.mktemp("shared"), PASSAGES)


SHARED: Index
