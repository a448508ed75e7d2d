"""``signacc generate`` on the shipped model: what ends the text, and what is refused."""

import json

import pytest
from click.testing import CliRunner

from signacc.cli import main


def generate(*arguments, prompt="Once upon a time"):
    return CliRunner().invoke(main, ["generate", "--prompt", prompt, *arguments])


def report(*arguments, **kwargs):
    result = generate("--json", *arguments, **kwargs)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("arithmetic", ["A16", "A8", "float", "packed"])
def test_a_seed_repeats_and_another_differs(arithmetic):
    options = ("--arithmetic", arithmetic, "--write", "8", "--temperature", "1", "--top-p", "1")
    first = report(*options, "--seed", "5")
    assert first == report(*options, "--seed", "5")
    assert first["tokens"] != report(*options, "--seed", "6")["tokens"]
    assert (first["ended_by"], len(first["tokens"])) == ("count", 8)


def test_temperature_0_needs_no_seed_and_float_agrees_with_golden():
    options = ("--write", "6", "--temperature", "0")
    greedy = report(*options)
    assert greedy["tokens"] == report(*options, "--seed", "9", "--top-p", "0.1")["tokens"]
    assert greedy["tokens"] == report(*options, "--arithmetic", "float")["tokens"]


def test_the_text_streamed_is_that_of_json():
    options = ("--write", "10", "--seed", "2")
    shown = generate(*options).stdout
    found = report(*options)
    assert shown == f"Once upon a time{found['text']}\n"
    assert found["prompt_tokens"][0] == 0  # the token that begins every text


def test_a_stop_text_ends_it():
    whole = report("--write", "12", "--seed", "3")["text"]
    stop = whole[6:9]
    found = report("--write", "12", "--seed", "3", "--stop", "no such", "--stop", stop)
    assert found["ended_by"] == "stop"
    assert found["text"] == whole[: whole.index(stop)]
    assert len(found["tokens"]) < 12


def test_act_bits_is_the_arithmetic():
    options = ("--write", "3")
    assert report(*options, "--act-bits", "8") == report(*options, "--arithmetic", "A8")


@pytest.mark.parametrize(
    ("arguments", "prompt", "part"),
    [
        ([], "", "a prompt must have at least one token, not none"),
        ([], "\udcff", "a prompt must be valid Unicode text"),
        ([], "word " * 600, "must fit the context of 512 tokens, not"),
        (["--write", "600"], "x", "must fit the context of 512 tokens, not 601"),
        (["--temperature", "-1"], "x", "temperature must be from 0 to 100, not -1.0"),
        (["--temperature", "nan"], "x", "temperature must be from 0 to 100, not nan"),
        (["--top-p", "0"], "x", "top_p must be above 0 and at most 1, not 0.0"),
        (["--top-p", "1.5"], "x", "top_p must be above 0 and at most 1, not 1.5"),
        (["--stop", ""], "x", "a text that ends the writing must not be empty"),
        (["--arithmetic", "int8"], "x", "arithmetic must be float"),
        (["--arithmetic", "A8", "--act-bits", "8"], "x", "--arithmetic or --act-bits, not both"),
        (["--act-bits", "3"], "x", "A4 to A24, not 'A3'"),
        (["--seed", "-1"], "x", "-1 is not in the range"),
        (["--write", "0"], "x", "0 is not in the range"),
    ],
)
def test_bad_input(arguments, prompt, part):
    result = generate(*arguments, prompt=prompt)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert result.stdout == ""
