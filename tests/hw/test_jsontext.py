"""Files that are no JSON object are refused by name, and lines of keys are found."""

import pytest

from hw.jsontext import LIMIT, JsonTextError, read_object


def write(folder, text):
    path = folder / "file.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_an_object_and_the_lines_of_its_keys(tmp_path):
    text = '{"a": 1,\n\n "b": [{"c": "}{,"},\n {"c": 2}]\n}'
    data, lines = read_object(write(tmp_path, text))
    assert data == {"a": 1, "b": [{"c": "}{,"}, {"c": 2}]}
    assert lines == {("a",): 1, ("b",): 3, ("b", 0, "c"): 3, ("b", 1, "c"): 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be valid JSON"),
        ("{", "must be valid JSON"),
        ("{'a': 1}", "must be valid JSON"),
        ("1" * 5000, "must be valid JSON"),
        ("[" * 200_000, "must be valid JSON"),
        (b"\xff\xfe", "must be UTF-8 text"),
        ("[]", "must hold a JSON object, not list"),
        ('{"a": 1,\n\n"a": 2}', "line 3: a must stand once in its object"),
        ('{"a": {"b": 1},\n"c": {"b": 1, "b": 2}}', "line 2: b must stand once"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(JsonTextError, match=message) as error:
        read_object(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file(tmp_path):
    with pytest.raises(JsonTextError, match=r"^cannot read .*none.json: No such file"):
        read_object(tmp_path / "none.json")


def test_a_file_without_end_is_refused():
    with pytest.raises(JsonTextError, match=r"^/dev/zero must have at most 16 MiB; it has more$"):
        read_object("/dev/zero")


def test_a_file_of_the_largest_size_is_read(tmp_path):
    text = '{"a": 1}'
    path = write(tmp_path, text + " " * (LIMIT - len(text)))
    assert read_object(path) == ({"a": 1}, {("a",): 1})
