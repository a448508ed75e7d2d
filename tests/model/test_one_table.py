import copy
import json

import pytest
from click.testing import CliRunner

from golden.errors import InputError
from model.one_table import OneTable, main

EVALUATION = {
    "window": 64, "dtype": "float32", "device": "cpu",
    "wiki": {
        "fbi": {"perplexity": 30.004}, "twin": {"perplexity": 25.0},
        "teacher": {"perplexity": 20.0, "perplexity_per_student_token": 19.5},
        "fbi_over_twin": {"ratio": 1.2, "ci95": [1.1, 1.3], "windows": 8},
    },
    "held_out_sampled": {"fbi": {"perplexity": 5.0}},
}  # fmt: skip
GOLDEN = {
    "window": 64, "windows": 4,
    "texts": {"wiki": {"float": {"perplexity": 10.0}, "A16": {"perplexity": 10.001},
                       "A8": {"perplexity": 9.95}}},
}  # fmt: skip


def zero_shot(limit, **accuracy):
    return {
        "limit": limit, "metric": {"piqa": "acc_norm"},
        "accuracy": {name: {"piqa": {"acc_norm": share, "acc_norm_stderr": 0.012}}
                     for name, share in accuracy.items()},
    }  # fmt: skip


def rows(*records):
    table = OneTable()
    for number, record in enumerate(records):
        table.add(copy.deepcopy(record), f"record {number}")
    lines = table.markdown().splitlines()
    return {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| ")}


def test_every_model_has_its_column():
    found = rows(EVALUATION, {"results": GOLDEN}, zero_shot(None, float=0.5, twin=0.52),
                 zero_shot(100, teacher=0.7),
                 zero_shot(40, float=0.55, A16=0.55, A8=0.5))  # fmt: skip
    assert found["wiki, perplexity"] == (
        "| wiki, perplexity | 19.50 | 25.00 | 30.00 | +0.010 % [1] | -0.500 % [1] "
        "| 1.200 (1.100–1.300) |"
    )
    assert found["sampled, perplexity"] == "| sampled, perplexity | – | – | 5.00 | – | – | – |"
    assert found["piqa, acc_norm, %"] == (
        "| piqa, acc_norm, % | 70.0 ± 1.2 [2] | 52.0 ± 1.2 | 50.0 ± 1.2 | +0.0 [3] | -5.0 [3] | – |"
    )


def test_the_record_of_more_items_counts_in_any_order():
    for records in ([100, None], [None, 100]):
        found = rows(*(zero_shot(n, float=0.4 if n else 0.6) for n in records))
        assert "| 60.0 ± 1.2 |" in found["piqa, acc_norm, %"]


def test_two_machines_make_one_table():
    alone = copy.deepcopy(EVALUATION)
    twin = {"window": 64, "dtype": "float32", "wiki": {"twin": alone["wiki"].pop("twin")}}
    ratio = {"models": ["fbi", "twin"], "window": 64,
             "texts": {"wiki": alone["wiki"].pop("fbi_over_twin")}}  # fmt: skip
    whole = rows(EVALUATION)["wiki, perplexity"]
    assert rows(ratio, twin, alone)["wiki, perplexity"] == whole


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "a table needs records; there is none"),
        ([{}], "record 0 must be a record of measure, loss_files, perplexity or zero_shot"),
        ([EVALUATION, {**GOLDEN, "window": 32}], "record 1 must be of windows of 64 tokens"),
        ([zero_shot(None, twin=0.1), zero_shot(None, twin=0.2)],
         r"record 1 gives piqa of twin as 20\.0 ± 1\.2, another record as 10\.0 ± 1\.2"),
        ([{"models": ["twin", "fbi"], "window": 1, "texts": {}}], "must be of fbi and twin, in"),
        ([{"limit": 3, "metric": {"piqa": "acc"}, "accuracy": {"twin": {}}}],
         "record 0 must be a record of a measurement"),
        ([zero_shot(None, twin=0.1), {"limit": None, "metric": {"piqa": "acc"}, "accuracy": {}}],
         "record 1 must give piqa as acc_norm, as another record does, not as acc"),
    ],
)  # fmt: skip
def test_records_that_do_not_fit_are_refused(records, message):
    with pytest.raises(InputError, match=message):
        rows(*records)


def test_the_command_line(tmp_path):
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(EVALUATION))
    result = CliRunner().invoke(main, [str(path)])
    assert result.exit_code == 0
    assert result.output.startswith("| measured | teacher | twin | FBI float |")
    for content, message in (("{", "must be JSON"), ("[]", "must hold a JSON object, not list")):
        path.write_text(content)
        result = CliRunner().invoke(main, [str(path)])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
    result = CliRunner().invoke(main, [str(tmp_path / "none.json")])
    assert result.exit_code == 2
    assert "a record must be there" in result.output
