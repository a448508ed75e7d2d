"""Traces: both formats, rates, turns; bad lines by their number."""

import json

import pytest

from sim.errors import InputError
from sim.serving.requests import PS
from sim.serving.trace import trace_from_file

ROWS = [(10.0, 5, 7), (11.0, 6, 8), (11.0, 3, 1), (13.0, 9, 2)]


def csv_file(folder, text=None):
    path = folder / "t.csv"
    lines = "".join(f"{a},x,{p},{o}\n" for a, p, o in ROWS)
    path.write_text(text or f"arrival_s,user,prompt_tokens,output_tokens\n{lines}")
    return path


def json_file(folder, *lines):
    path = folder / "t.jsonl"
    if not lines:
        lines = [
            json.dumps({"arrival_s": a, "prompt_tokens": p, "output_tokens": o}) for a, p, o in ROWS
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("write", [csv_file, json_file])
def test_a_trace_at_its_own_rate(tmp_path, write):
    trace = trace_from_file(write(tmp_path))
    assert trace.rate == 1.0
    played = trace.requests(1.0, 4.0, 0)
    assert played.arrival.tolist() == [0, PS, PS, 3 * PS]
    assert played.prompt.tolist() == [5, 6, 3, 9]
    assert played.output.tolist() == [7, 8, 1, 2]
    assert trace.to_dict()["mean_prompt"] == 5.75


def test_the_columns_of_azure(tmp_path):
    """Lines as in AzureLLMInferenceTrace_conv.csv: seven digits of a second, over midnight."""
    trace = trace_from_file(csv_file(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.2500000,374,44\n"
        "2023-11-17 00:00:01.7500000,396,109\n",
    ))
    assert trace.recorded.arrival.tolist() == [0, 5 * PS // 2]
    assert trace.recorded.prompt.tolist() == [374, 396]
    assert trace.recorded.output.tolist() == [44, 109]
    with pytest.raises(InputError, match=r"line 2: TIMESTAMP must be a date .* not 'noon'"):
        trace_from_file(csv_file(
            tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,374,44\n"
        ))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("2023-11-15 10:00:00,1,1", "line 3: TIMESTAMP must not go back, from the first one, 2023"),
        ("2024-11-16 10:00:00,1,1",
         r"line 3: TIMESTAMP must be a number from 0 to 1e\+06 s after the first one, not 316224"),
        ("2023-11-16 10:00:01,0,1", "line 3: ContextTokens must be an integer from 1 .* not '0'"),
        ("2023-11-16 10:00:01,1,x", "line 3: GeneratedTokens must be an integer .* not 'x'"),
        ("2023-11-16 10:00:02,1,1\n2023-11-16 10:00:01,1,1",
         "line 4: TIMESTAMP must not go back, from 2 to 1"),
    ],
)
def test_complaints_call_the_columns_of_azure_as_the_file_does(tmp_path, second, message):
    text = f"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 10:00:00,1,1\n{second}\n"
    with pytest.raises(InputError, match=message):
        trace_from_file(csv_file(tmp_path, text))


def test_rates_scale_times_and_a_trace_takes_turns(tmp_path):
    trace = trace_from_file(csv_file(tmp_path))
    played = trace.requests(2.0, 3.0, 0)
    # a turn is 4 requests at 2 a second: 2 s
    half = PS // 2
    assert played.arrival.tolist() == [0, half, half, 3 * half, 4 * half, 5 * half, 5 * half]
    assert played.prompt.tolist() == [5, 6, 3, 9, 5, 6, 3]
    assert len(trace.requests(8.0, 100.0, 0)) == pytest.approx(800, abs=4)


def test_a_stock_is_the_trace_over_and_over(tmp_path):
    stock = trace_from_file(csv_file(tmp_path)).at_once(6, 0)
    turn = list(zip(stock.prompt.tolist(), stock.output.tolist(), strict=True))
    lengths = [row[1:] for row in ROWS]
    assert sorted(turn[:4]) == sorted(lengths)
    assert set(turn[4:]) < set(lengths)
    assert not stock.arrival.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arrival_s,prompt_tokens\n1,2\n", "line 1: a trace needs a column output_tokens"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2,3\n0.5,2,3\n",
         "line 3: arrival_s must not go back, from 1 to 0.5"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2,3\nx,2,3\n",
         "line 3: arrival_s must be a number from 0 to 1e"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2.5,3\n",
         "line 2: prompt_tokens must be an integer from 1 to 1048576, not '2.5'"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2,0\n", "line 2: output_tokens .* not '0'"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2\n", "line 2: output_tokens .* not None"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2,3,4,5\n",
         "line 2: must have at most the 3 columns of line 1, not 5"),
        ("arrival_s,prompt_tokens,output_tokens\n1,2,3\n", "at least two requests, not 1"),
        ("arrival_s,prompt_tokens,output_tokens\n0,2,3\n1e-320,2,3\n",
         "must arrive at different times, .*; all 2 arrive at 0 s"),
        ("arrival_s,arrival_s,prompt_tokens,output_tokens\n0,0,2,3\n1,1,2,3\n",
         "line 1: column arrival_s must stand once"),
        ("arrival_s,prompt_tokens,output_tokens\n1," + "9" * 400 + ",3\n",
         r"line 2: prompt_tokens .* not '9{59}\.\.\. \(402 characters\)"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        trace_from_file(csv_file(tmp_path, text))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    text = "arrival_s,prompt_tokens,output_tokens\n0,2,3\n1,4,5\n"
    assert trace_from_file(csv_file(tmp_path, "\ufeff" + text)).recorded.prompt.tolist() == [2, 4]


def test_bad_lines(tmp_path):
    good = json.dumps({"arrival_s": 0, "prompt_tokens": 1, "output_tokens": 1})
    for line, message in (
        ("{", "line 2: must be valid JSON"), ("[1]", "line 2: must hold a JSON object"),
        ('{"arrival_s": true}', "line 2: arrival_s must be a number .* not True"),
        ('{"arrival_s": 1' + "0" * 400 + "}", r"line 2: arrival_s must be .* not 10+\.\.\. "),
        ('{"arrival_s": 1, "arrival_s": 2}', "line 2: must be valid JSON: a key must stand once"),
        ('{"arrival_s": NaN}', "line 2: arrival_s must be a number"),
    ):
        with pytest.raises(InputError, match=message):
            trace_from_file(json_file(tmp_path, good, line))


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        trace_from_file(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"must be a .csv or a .jsonl file"):
        trace_from_file(tmp_path / "t.txt")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be UTF-8 text"):
        trace_from_file(tmp_path / "bytes.csv")
