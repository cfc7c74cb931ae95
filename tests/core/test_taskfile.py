from __future__ import annotations

import io
import itertools
import json
import os
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.codec import to_json
from holodeck_gen._model.task import Task
from holodeck_gen._taskfile.csv_rows import read_csv
from holodeck_gen._taskfile.fields import INTEGERS, OBJECTS
from holodeck_gen._taskfile.lines import MAX_LINE, Lines
from holodeck_gen._taskfile.taskfile import Line, check_tasks, read_tasks, rereadable
from holodeck_gen.errors import ConfigError, InvalidTaskError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TASKS = st.builds(
    Task,
    TEXT.filter(str.strip),
    model=st.none() | TEXT,
    size=st.none() | st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    seed=st.none() | st.integers(0, 2**63 - 1),
    n=st.integers(1, 10_000),
    negative_prompt=st.none() | TEXT,
    style=st.none() | TEXT,
    provider=st.none() | TEXT,
    inputs=st.lists(TEXT.filter(bool), max_size=2),
    metadata=st.dictionaries(TEXT, VALUES, max_size=3),
    provider_options=st.dictionaries(TEXT, VALUES, max_size=3),
    priority=st.integers(-5, 5),
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def read(folder: Path, name: str, data: bytes | str, **options: Any) -> list[Line]:
    file = folder / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_tasks(file, **options))


def tasks(lines: list[Line]) -> list[Task]:
    assert [line.error for line in lines if line.error] == []
    return [line.task for line in lines if line.task is not None]


def errors(lines: list[Line]) -> dict[int, str]:
    return {line.number: str(line.error) for line in lines if line.error is not None}


class TestJsonl:
    def test_fields_are_those_of_task(self, tmp_path: Path) -> None:
        (line,) = read(
            tmp_path,
            "t.jsonl",
            '{"id": "a", "prompt": "a cat", "size": "64x32", "seed": 7, "n": 2,'
            ' "provider_options": {"x": [1]}, "metadata": {"k": "v"}, "mine": true}',
        )
        assert line.number == 1
        assert line.task == Task(
            "a cat",
            id="a",
            size=(64, 32),
            seed=7,
            n=2,
            provider_options={"x": [1]},
            metadata={"k": "v", "mine": True},
        )

    def test_byte_order_mark_crlf_blank_lines_and_no_last_line_end(self, tmp_path: Path) -> None:
        data = b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n  \n{"prompt": "b"}'
        assert tasks(read(tmp_path, "t.jsonl", data)) == [Task("a"), Task("b")]

    def test_null_says_nothing(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.jsonl", '{"prompt": "a", "seed": null, "n": null, "kind": null}')
        assert tasks(lines) == [Task("a")]

    def test_inputs_may_be_artifacts(self, tmp_path: Path) -> None:
        made = Artifact(path=Path("x.png"), media_type="image/png", sha256="0" * 64, size_bytes=3)
        task = Task("", inputs=["https://example.com/a.png", made])
        assert tasks(read(tmp_path, "t.jsonl", json.dumps(to_json(task)))) == [task]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"promt": "a"}', "there is no field 'promt'; did you mean 'prompt'"),
            ('{"prompt": "a", "Seed": 1}', "did you mean 'seed'"),
            ('{"prompt": "a", "negative_promt": "b"}', "did you mean 'negative_prompt'"),
            ('{"prompt": ""}', "the prompt is empty"),
            ('{"prompt": " "}', "the prompt is empty"),
            ("{}", "the prompt is empty"),
            ('{"prompt": null}', "the prompt is empty"),
            ('{"prompt": 3}', "prompt must be text, not 3"),
            ('{"prompt": ["a"]}', "prompt must be text"),
            ('{"prompt": "a", "kind": 3}', "kind must be text"),
            ('{"prompt": "a", "seed": "7"}', "seed must be a whole number"),
            ('{"prompt": "a", "seed": 1.5}', "seed must be a whole number"),
            ('{"prompt": "a", "seed": true}', "seed must be a whole number"),
            ('{"prompt": "a", "seed": -1}', "seed must be from 0"),
            ('{"prompt": "a", "n": 0}', "n must be from 1"),
            ('{"prompt": "a", "size": "0x5"}', "at least 1 pixel"),
            ('{"prompt": "a", "size": [-1, 5]}', "at least 1 pixel"),
            ('{"prompt": "a", "size": "100000x100000"}', "too large"),
            ('{"prompt": "a", "size": "16:9"}', "aspect ratio"),
            ('{"prompt": "a", "size": {"w": 1}}', "size must be"),
            ('{"prompt": "a", "id": ""}', "id must have"),
            ('{"prompt": "a", "id": 5}', "id must be text"),
            ('{"prompt": "a", "inputs": "x.png"}', "inputs must be a list"),
            ('{"prompt": "a", "inputs": 5}', "inputs must be a list"),
            ('{"prompt": "a", "inputs": {"path": "x"}}', "inputs must be a list"),
            ('{"prompt": "a", "inputs": [5]}', "inputs must hold"),
            ('{"prompt": "a", "inputs": [{"path": 5}]}', "is not an artifact"),
            ('{"prompt": "a", "metadata": 5}', "metadata must be an object"),
            ('{"prompt": "a", "provider_options": [1]}', "provider_options must be an object"),
            ('{"prompt": "a", "seed": NaN}', "NaN is not a JSON number"),
            ('{"prompt": "a", "x": -Infinity}', "-Infinity is not a JSON number"),
            ('{"prompt": "a", "x": 1e999}', "not a JSON number"),
            ('{"prompt": "a", "prompt": "b"}', "'prompt' is given twice"),
            ('{"prompt": "\\u0000"}', "NUL"),
            ('{"prompt": "\\ud800"}', "surrogate"),
            ('{"\\ud800": 1, "prompt": "a"}', "surrogate"),
            ('["a"]', "a line must be an object"),
            ('"a"', "a line must be an object"),
            ("a cat", "not JSON"),
            ('{"prompt": "a"} {"prompt": "b"}', "not JSON: Extra data"),
            ('{"prompt": "a", "seed": ' + "9" * 5000 + "}", "not JSON"),
            ('{"prompt": "a", "x": ' + nested(100) + "}", "nested"),
            ('{"prompt": "a", "x": ' + nested(90_000) + "}", "nested too deeply"),
            ('{"prompt": ' + nested(900) + "}", "prompt must be text|nested too deeply"),
            ('{"prompt": "' + "a" * 100_001 + '"}', "100001 characters"),
        ],
        ids=itertools.count(),
    )
    def test_a_wrong_line_is_its_own_error(self, tmp_path: Path, line: str, reason: str) -> None:
        lines = read(
            tmp_path, "t.jsonl", f'{{"prompt": "before"}}\n{line}\n{{"prompt": "after"}}\n'
        )
        assert [each.number for each in lines] == [1, 2, 3]
        assert [each.task and each.task.prompt for each in lines] == ["before", None, "after"]
        assert isinstance(lines[1].error, InvalidTaskError)
        with pytest.raises(InvalidTaskError, match=reason):
            raise lines[1].error

    def test_fields_far_from_any_real_one_are_metadata(self, tmp_path: Path) -> None:
        (task,) = tasks(read(tmp_path, "t.jsonl", '{"prompt": "a", "title": "t", "category": 1}'))
        assert task.metadata == {"title": "t", "category": 1}

    def test_a_torn_last_line_is_an_error_with_its_number(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.jsonl", '{"prompt": "a"}\n{"prompt": "b')
        assert errors(lines).keys() == {2}
        assert "cut off" in errors(lines)[2]

    def test_not_utf8(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.jsonl", b'{"prompt": "a"}\n{"prompt": "\xff"}\n{"prompt": "b"}')
        assert errors(lines) == {2: "byte 13 is not UTF-8"}

    def test_duplicate_ids_name_both_lines(self, tmp_path: Path) -> None:
        data = '{"prompt": "a", "id": "x"}\n{"prompt": "b"}\n{"prompt": "c", "id": "x"}\n'
        assert errors(read(tmp_path, "t.jsonl", data)) == {3: "the id 'x' is also that of line 1"}

    def test_ids_that_differ_in_case_are_two(self, tmp_path: Path) -> None:
        data = '{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "X"}\n'
        assert len(tasks(read(tmp_path, "t.jsonl", data))) == 2

    def test_a_long_line_is_an_error_and_is_never_held(self, tmp_path: Path) -> None:
        class Watched(io.BytesIO):
            largest = 0

            def readline(self, size: int | None = -1, /) -> bytes:
                data = super().readline(size)
                self.largest = max(self.largest, len(data))
                return data

        long = b'{"prompt": "%s"}\n' % (b"a" * 10 * MAX_LINE)
        stream = Watched(b'{"prompt": "a"}\n' + long + b'{"prompt": "b"}\n' + long[:-1])
        lines = list(read_tasks(stream))
        assert [line.number for line in lines] == [1, 2, 3, 4]
        assert errors(lines) == dict.fromkeys((2, 4), f"longer than {MAX_LINE} bytes")
        assert stream.largest <= MAX_LINE + 1

    def test_a_line_of_just_that_length_is_read(self, tmp_path: Path) -> None:
        line = b'{"prompt": "a"}'
        assert len(tasks(read(tmp_path, "t.jsonl", line.ljust(MAX_LINE) + b"\n"))) == 1

    @given(st.binary(max_size=400))
    def test_any_bytes_are_lines_or_errors(self, data: bytes) -> None:
        try:
            lines = list(read_tasks(io.BytesIO(b"{\n" + data)))
        except ConfigError:
            raise AssertionError("there is a first line") from None
        assert [line.number for line in lines] == sorted({line.number for line in lines})
        assert all((line.task is None) != (line.error is None) for line in lines)

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from([field.name for field in attrs.fields(Task)]) | st.text(max_size=9),
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                    lambda inner: (
                        st.lists(inner, max_size=3)
                        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
                    ),
                    max_leaves=6,
                ),
                max_size=5,
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_any_objects_are_tasks_or_errors(self, objects: list[dict[str, Any]]) -> None:
        data = "\n".join(json.dumps(each) for each in objects)
        lines = list(read_tasks(io.BytesIO(data.encode())))
        assert len(lines) == len(objects)


class TestRoundTrip:
    @given(st.lists(TASKS, min_size=1, max_size=5))
    def test_what_to_json_writes_is_read_back(self, given_tasks: list[Task]) -> None:
        data = "".join(json.dumps(to_json(each)) + "\n" for each in given_tasks)
        assert tasks(list(read_tasks(io.BytesIO(data.encode())))) == given_tasks


class TestCsv:
    def test_columns_are_fields_and_others_metadata(self, tmp_path: Path) -> None:
        lines = read(
            tmp_path,
            "t.csv",
            "id,prompt,seed,n,size,place,provider_options\n"
            'a,"a cat, ""red""",7,2,64x32,here,"{""x"": 1}"\n'
            'b,"two\nlines",,,,,\n'
            "\n"
            "c,third,1,,,there,\n",
        )
        assert [line.number for line in lines] == [2, 3, 6]
        assert tasks(lines) == [
            Task(
                'a cat, "red"',
                id="a",
                seed=7,
                n=2,
                size=(64, 32),
                metadata={"place": "here"},
                provider_options={"x": 1},
            ),
            Task("two\nlines", id="b", metadata={"place": ""}),
            Task("third", id="c", seed=1, metadata={"place": "there"}),
        ]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_delimiters_bom_crlf(self, tmp_path: Path, delimiter: str) -> None:
        data = "\ufeffid,prompt\r\na,b\r\n".replace(",", delimiter)
        assert tasks(read(tmp_path, "t.csv", data)) == [Task("b", id="a")]

    def test_encoding(self, tmp_path: Path) -> None:
        data = "prompt\n晨雾中的山\n".encode("gbk")
        assert tasks(read(tmp_path, "t.csv", data, encoding="gbk")) == [Task("晨雾中的山")]
        (line,) = read(tmp_path, "t.csv", data)
        assert line.number == 2
        assert "is not UTF-8" in str(line.error)

    def test_an_undecodable_header_hints_at_the_option(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"line 1, the header: .*--encoding"):
            read(tmp_path, "t.csv", "prompt,名\na,b\n".encode("gbk"))

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("a", "1 cells, but the header has 3"),
            ("a,b,c,d", "4 cells, but the header has 3"),
            ("a,b,seven", "seed must be a whole number, not 'seven'"),
            ("a,b,1.5", "seed must be a whole number"),
            (",,", None),
            (",x,1", None),
            ('a,"b"c,1', "not CSV"),
            ("a,,1", "the prompt is empty"),
        ],
    )
    def test_a_wrong_row_is_its_own_error(
        self, tmp_path: Path, row: str, reason: str | None
    ) -> None:
        lines = read(tmp_path, "t.csv", f"id,prompt,seed\nx,before,1\n{row}\ny,after,2\n")
        assert [line.task.prompt for line in lines if line.task][::3] == ["before"]
        assert lines[-1].task == Task("after", id="y", seed=2)
        if reason is None:
            assert errors(lines) == {}
        else:
            assert errors(lines).keys() == {3}
            assert reason in errors(lines)[3]

    def test_a_torn_last_row(self, tmp_path: Path) -> None:
        assert "1 cells" in errors(read(tmp_path, "t.csv", "id,prompt\na,b\nc"))[3]
        assert "not CSV" in errors(read(tmp_path, "t.csv", 'id,prompt\na,b\nc,"d'))[3]

    def test_a_bad_line_inside_a_record_ends_only_that(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.csv", b'prompt\n"a\n\xff"\nb\n')
        assert errors(lines).keys() == {2}
        assert lines[-1].task == Task("b")

    def test_a_quote_that_is_never_closed_is_bounded(self, tmp_path: Path) -> None:
        data = 'prompt\n"' + "a cat\n" * 50_000
        assert "field larger" in errors(read(tmp_path, "t.csv", data))[2]

    def test_a_column_without_a_name_may_be_empty(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.csv", "prompt,\na,\nb,c\n")
        assert lines[0].task == Task("a")
        assert errors(lines) == {3: "'c' stands in a column without a name"}

    def test_inputs_are_one_or_a_list(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.csv", 'inputs\nx.png\n"[""a"", ""b""]"\n[broken\n')
        assert lines[0].task == Task("", inputs=["x.png"])
        assert lines[1].task == Task("", inputs=["a", "b"])
        assert "not JSON" in errors(lines)[4]

    @pytest.mark.parametrize(
        ("header", "reason"),
        [
            ("promt,id", "did you mean 'prompt'"),
            ("prompt,prompt", "'prompt' twice"),
            ("id,place", "no column 'prompt'"),
            ('"prompt', "the header is not CSV"),
        ],
    )
    def test_a_wrong_header_is_wrong_for_all(
        self, tmp_path: Path, header: str, reason: str
    ) -> None:
        with pytest.raises(ConfigError, match=reason):
            read(tmp_path, "t.csv", f"{header}\na,b\n")

    @given(st.binary(max_size=300))
    def test_any_bytes_are_lines_or_errors(self, data: bytes) -> None:
        file = io.BytesIO(b"prompt,seed\n" + data)
        for number, _ in read_csv(Lines(file, encoding="utf-8")):
            assert number > 1

    def test_integer_and_object_fields_are_those_of_task(self) -> None:
        fields = attrs.fields_dict(attrs.resolve_types(Task))
        integers = {name for name, field in fields.items() if field.type in (int, int | None)}
        assert integers == INTEGERS
        assert fields.keys() >= OBJECTS


class TestText:
    def test_a_prompt_a_line(self, tmp_path: Path) -> None:
        data = b"\xef\xbb\xbf# comment\r\n\r\na cat \r\n  # also\n{not json}\nb\xe2\x80\xa8c"
        lines = read(tmp_path, "t.txt", data)
        assert [line.number for line in lines] == [3, 5, 6]
        assert tasks(lines) == [Task("a cat"), Task("{not json}"), Task("b\u2028c")]

    def test_wrong_lines(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.txt", b"a\n\xff\n\x00\nb\n")
        assert errors(lines) == {2: "byte 1 is not UTF-8", 3: "prompt: text holds a NUL character"}

    @pytest.mark.parametrize("name", ["t", "t.md", "t.prompts"])
    def test_an_unknown_suffix_is_told_by_the_first_line(self, tmp_path: Path, name: str) -> None:
        assert tasks(read(tmp_path, name, "a cat\n{}")) == [Task("a cat"), Task("{}")]
        assert tasks(read(tmp_path, name, '\n\n {"prompt": "a cat"}\n')) == [Task("a cat")]

    def test_a_json_array_is_not_taken_for_prompts(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="JSONL"):
            read(tmp_path, "t.json", '[\n{"prompt": "a"}\n]')
        assert tasks(read(tmp_path, "t.json", '{"prompt": "a"}')) == [Task("a")]


class TestDefaults:
    defaults: ClassVar[dict[str, Any]] = {
        "model": "m",
        "seed": 5,
        "provider_options": {"a": 1, "b": 1},
    }

    def test_they_apply_where_a_line_says_nothing(self, tmp_path: Path) -> None:
        data = '{"prompt": "a"}\n{"prompt": "b", "seed": 0, "provider_options": {"b": 2}}\n'
        first, second = tasks(read(tmp_path, "t.jsonl", data, defaults=self.defaults))
        assert first == Task("a", model="m", seed=5, provider_options={"a": 1, "b": 1})
        assert second == Task("b", model="m", seed=0, provider_options={"a": 1, "b": 2})

    def test_an_empty_cell_says_nothing(self, tmp_path: Path) -> None:
        lines = read(tmp_path, "t.csv", "prompt,seed\na,\n", defaults=self.defaults)
        assert tasks(lines)[0].seed == 5


class TestSources:
    @pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.txt", "t"])
    @pytest.mark.parametrize("data", ["", "\n \n", "\ufeff"])
    def test_no_tasks(self, tmp_path: Path, name: str, data: str) -> None:
        with pytest.raises(ConfigError, match=f"{name}: no tasks"):
            read(tmp_path, name, data)

    def test_a_header_alone_is_no_task(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no tasks"):
            read(tmp_path, "t.csv", "id,prompt\n")

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"none\.txt cannot be read: No such file"):
            list(read_tasks(tmp_path / "none.txt"))
        with pytest.raises(ConfigError, match="is a folder"):
            list(read_tasks(str(tmp_path)))
        with pytest.raises(ConfigError, match="cannot be read"):
            list(read_tasks("a\x00b"))

    @pytest.mark.parametrize(
        ("encoding", "reason"),
        [
            ("klingon", "there is no encoding"),
            ("base64", "there is no encoding"),
            ("utf-16", "convert them to UTF-8"),
        ],
    )
    def test_impossible_encodings(self, tmp_path: Path, encoding: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            read(tmp_path, "t.txt", "a", encoding=encoding)

    def test_standard_input_can_be_read_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(b'{"prompt": "a"}\n'))
        monkeypatch.setattr(sys, "stdin", stdin)
        with rereadable("-") as source:
            assert tasks(list(read_tasks(source))) == tasks(list(read_tasks(source))) == [Task("a")]

    def test_empty_or_missing_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        with pytest.raises(ConfigError, match="standard input: no tasks"):
            list(read_tasks("-"))
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(ConfigError, match="no standard input"):
            list(read_tasks("-"))

    def test_a_pipe_can_be_read_twice(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_text, args=("a cat\n",))
        writer.start()
        with rereadable(pipe) as source:
            writer.join()
            assert tasks(list(read_tasks(source))) == tasks(list(read_tasks(source)))

    def test_reading_may_be_left_and_changes_threads(self, tmp_path: Path) -> None:
        file = tmp_path / "t.jsonl"
        file.write_text("".join(f'{{"prompt": "a", "id": "{i}"}}\n' for i in range(9)))
        reader = read_tasks(file)
        assert next(reader).number == 1
        seen: list[Line] = []
        thread = threading.Thread(target=lambda: seen.append(next(reader)))
        thread.start()
        thread.join()
        assert seen[0].number == 2
        reader.close()  # type: ignore[attr-defined]


class TestCheck:
    def test_counts_and_keeps_the_first_wrong_lines(self, tmp_path: Path) -> None:
        data = '{"prompt": "a"}\n' * 3 + "x\n" * 30
        check = check_tasks(read(tmp_path, "t.jsonl", data))
        assert (check.count, check.bad_count) == (3, 30)
        assert [line.number for line in check.bad] == list(range(4, 24))

    def test_many_ids_take_little_memory(self) -> None:
        """Others ran out of memory with 500 000 lines; some thousand show it."""

        class Endless(io.RawIOBase):
            """A file of that many lines that is nowhere as a whole."""

            def __init__(self) -> None:
                self.line = 0

            def readable(self) -> bool:
                return True

            def seekable(self) -> bool:
                return True

            def seek(self, offset: int, whence: int = 0, /) -> int:
                self.line = 0
                return 0

            def readline(self, size: int | None = -1, /) -> bytes:
                if self.line == 5_000:
                    return b""
                self.line += 1
                return b'{"prompt": "a", "id": "%0200d"}\n' % self.line

        tracemalloc.start()
        try:
            check = check_tasks(read_tasks(Endless()))  # type: ignore[arg-type]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert check.count == 5_000
        assert peak < 600_000
