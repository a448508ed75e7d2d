import pytest

from sim.errors import InputError
from sim.interval import Interval
from sim.jsonfile import read

TEXT = """{
  "name": "x",
  "inner": {
    "list": [1, {"deep": 2}],
    "speed": 3
  },
  "range": {"low": 1, "nominal": 2, "high": 3}
}
"""


@pytest.fixture
def given(tmp_path):
    def write(text):
        path = tmp_path / "file.json"
        path.write_text(text, encoding="utf-8")
        return read(path)

    return write


def test_values(given):
    section = given(TEXT)
    section.keys(("name", "inner", "range"))
    assert section.text("name") == "x"
    assert section.interval("range") == Interval(1, 2, 3)
    assert section.section("inner").number("speed") == 3
    assert section.section("inner").integer("speed", 1) == 3
    assert section.section("inner").interval("speed") == Interval.exactly(3)


def test_unknown_and_missing_keys_are_named_with_their_line(given):
    inner = given(TEXT).section("inner")
    with pytest.raises(InputError, match=r"file.json, line 5: keys must be among list, not "
                                         r"inner.speed"):
        inner.keys(("list",))
    with pytest.raises(InputError, match=r"file.json, line 3: inner.other must be given"):
        inner.keys(("list", "speed", "other"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", "line 2: speed must be a finite number of at least 0, not -1"),
        ("NaN", "line 2: speed must be a finite number of at least 0, not nan"),
        ("Infinity", "line 2: speed must be a finite number of at least 0, not inf"),
        ("true", "line 2: speed must be a finite number of at least 0, not True"),
        ('"1"', "line 2: speed must be a finite number of at least 0, not '1'"),
        ("0", "line 2: speed must be above 0, not 0"),
        ("1" + "0" * 400, r"line 2: speed must be a finite number of at least 0, not "
                          r"10{59}\.\.\. \(401 characters\)$"),
    ],
)
def test_bad_numbers(given, value, message):
    section = given('{\n"speed": ' + value + "}")
    with pytest.raises(InputError, match=message):
        section.number("speed", above=0)


def test_bad_texts_integers_objects_and_ranges(given):
    section = given('{"a": "",\n"b": 1.5,\n"c": [],\n"d": {"low": 2, "nominal": 1, "high": 3}}')
    with pytest.raises(InputError, match="line 1: a must be a text, not ''"):
        section.text("a")
    with pytest.raises(InputError, match=r"line 2: b must be an integer of at least 0, not 1\.5"):
        section.integer("b", 0)
    with pytest.raises(InputError, match=r"line 3: c must be a JSON object, not \[\]"):
        section.section("c")
    with pytest.raises(InputError, match=r"line 4: d must hold low <= nominal <= high, not 2, 1, "):
        section.interval("d")


def test_a_file_that_is_no_json_object(given):
    with pytest.raises(InputError, match=r"file.json must hold a JSON object, not list"):
        given("[]")


def test_texts_that_look_like_structure(given):
    section = given('{"a": "},{[:\\" \\n",\n "b": 2}')
    with pytest.raises(InputError, match="line 2: keys must be among a, not b"):
        section.keys(("a",))


def test_other_data_keeps_the_lines(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{\n "a": {\n  "b": 1\n }\n}')
    section = read(path).section("a").with_data({"b": -1})
    with pytest.raises(InputError, match=r"file.json, line 3: a.b must be an integer"):
        section.integer("b", 0)


@pytest.mark.parametrize("text", [r"\u0000", r"a\u001b[31m", r"\ud800", r"a\rb", r"\u009b"])
def test_texts_that_cannot_be_printed(given, text):
    """Halves of surrogate pairs fail in plots and pages, escapes in terminals."""
    with pytest.raises(InputError, match="line 2: name must be a text without control characters"):
        given(TEXT.replace('"x"', f'"{text}"')).text("name")


def test_texts_of_any_language(given):
    text = "größer als 数\\t\\n\u00a0x"
    assert given(TEXT.replace('"x"', f'"{text}"')).text("name") == "größer als 数\t\n\u00a0x"
