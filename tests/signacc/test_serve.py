"""signacc serve: table, JSON, plot; bad input in one sentence."""

import errno
import json
import os
import re

import pytest
from click.testing import CliRunner

from signacc import console
from signacc.cli import main
from sim.serving.settings import SCHEMA

QUICK = ("--max-batch", "4", "--token-budget", "8", "--prompt-tokens", "8", "--output-tokens",
         "geometric:mean=6,high=40", "--requests", "400")


def invoke(*arguments):
    return CliRunner().invoke(main, ["serve", *arguments])


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    message = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output
    for part in parts:
        assert part in message, message


def report(*arguments):
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def study():
    return report(*QUICK, "--loads", "0.3,0.8,1.3", "--price", "400", "--accelerators", "2")


def test_a_study(study):
    assert study["schema"] == SCHEMA
    points = study["points"]
    assert [round(point["load"], 9) for point in points] == [0.3, 0.8, 1.3]
    assert [bool(point["saturated"]) for point in points] == [False, False, True]
    for point in points:
        assert point["offered_rate"] == pytest.approx(
            point["load"] * study["capacity_requests_per_second"]
        )
        for name in ("ttft_s", "tpot_s", "end_to_end_s"):
            assert point[name]["p50"] <= point[name]["p90"] <= point[name]["p99"]
    half = study["capacity_requests_per_second_ci95"]
    assert 0 < half < 0.2 * study["capacity_requests_per_second"]
    latency = [point["end_to_end_s"]["mean"] for point in points]
    assert latency == sorted(latency)
    joules = [point["joules_per_token"]["nominal"] for point in points]
    assert joules == sorted(joules, reverse=True)
    assert points[0]["usd_per_million_tokens"]["nominal"] > points[1][
        "usd_per_million_tokens"
    ]["nominal"]


def test_the_same_seed_gives_the_same_study(study):
    same = ("--loads", "0.3,0.8,1.3", "--price", "400", "--accelerators", "2")
    assert report(*QUICK, *same) == study
    assert report(*QUICK, *same, "--seed", "1")["points"] != study["points"]


def test_table_and_plot(tmp_path):
    image = tmp_path / "serve.png"
    result = invoke(*QUICK, "--loads", "0.5,2", "--plot", str(image))
    assert result.exit_code == 0, result.output
    assert "saturated" in result.output
    assert re.search(r"capacity [\d.]+ ± [\d.]+\s+requests/s", result.output)
    assert image.read_bytes()[-8:-4] == b"IEND"
    assert [path.name for path in tmp_path.iterdir()] == ["serve.png"]


def test_the_table_fits_80_columns(monkeypatch):
    monkeypatch.setattr(console.out, "width", 80)
    lines = invoke(*QUICK, "--loads", "0.5,2", "--price", "500").output.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    assert "50%, 200%: too few requests" in " ".join(text.split())
    header = next(index for index, line in enumerate(lines) if "req/s" in line)
    nominal, spread = (line.split() for line in lines[header + 2 : header + 4])
    assert nominal[0] == "50%"
    low, high = map(float, spread[-1].split("-"))
    assert low < float(nominal[-2]) < high


def test_a_plot_that_cannot_be_written_loses_no_figures(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "serve.png"
    result = invoke(*QUICK, "--loads", "0.5", "--plot", str(path), "--json")
    refused(result, f"No space left on device: {path}")
    assert len(json.loads(result.stdout)["points"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_settings_and_a_trace(tmp_path):
    (tmp_path / "t.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{n / 10},{5 + n % 7},{1 + n % 9}\n" for n in range(300))
        + "40,600,5\n"
    )
    (tmp_path / "s.json").write_text(json.dumps(
        {"schema": SCHEMA, "trace": "t.csv", "loads": [0.5], "max_batch": 4, "token_budget": 8}
    ))
    found = report("--config", str(tmp_path / "s.json"), "--requests", "900")
    assert found["workload"]["trace"] == "t.csv"
    assert found["scheduler"]["token_budget"] == 8
    (point,) = found["points"]
    assert point["rejected"] > 0
    assert found["points"][0]["usd_per_million_tokens"] is None


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--loads", "0"), ("loads must be above 0", "not 0.0")),
        (("--loads", "x"), ("--loads must be numbers", "'x'")),
        (("--rates", "-5"), ("rates must be above 0", "not -5.0")),
        (("--loads", "1", "--rates", "2"), ("give loads or rates, not both",)),
        (("--accelerators", "0"), ("accelerators must be an integer of at least 1, not 0",)),
        (("--router", "best"), ("router must be one of", "'best'")),
        (("--max-batch", "1000"), ("at most the 136 tokens of a pass", "not 1000")),
        (("--token-budget", "1000"), ("at most the 136 tokens of a pass", "not 1000")),
        (("--prompt-tokens", "600"), ("no request fits",)),
        (("--prompt-tokens", "abc"), ("lengths must read like", "'abc'")),
        (("--kwh", "0.2"), ("--kwh is of a price: give --price, too",)),
        (("--price", "nan"), ("--price must be from 0 to 1e+12, not nan",)),
        (("--price", "1", "--kwh", "inf"), ("--kwh must be from 0 to 1e+12, not inf",)),
        (("--price", "1", "--years", "0"), ("--years must be above 0 and at most 1e+12, not 0",)),
        (("--arrivals", "gamma", "--cv", "0"), ("--cv must be from 1e-06 to 100, not 0.0",)),
        (("--output-tokens", "0"), ("--output-tokens: mean of lengths", "not 0")),
        (("--price", "-2"), ("--price must be", "not -2")),
        (("--cv", "2"), ("gamma",)),
        (("--requests", "-4"), ("requests must be above 0", "not -4")),
        (("--duration", "0"), ("--duration must be above 0", "not 0.0")),
        (("--duration", "1", "--requests", "5"), ("--requests or --duration, not both",)),
        (("--warm-up", "-1"), ("--warm-up must be above 0", "not -1.0")),
        (("--seed", "-1"), ("seed must be an integer of at least 0, not -1",)),
        (("--trace", "none.csv"), ("cannot read none.csv",)),
        (("--config", "none.json"), ("cannot read none.json",)),
        (("--model", "fbi-9b"), ("fbi-9b",)),
        (("--model", "fbi-7b", "--preset", "ulx3s"), ("K must be",)),
        (("--model", "fbi-1.3b", "--preset", "ulx3s"), ("must fit the memory",)),
        (("--plot", "x.pdf"), ("must be a .png file", "'x.pdf'")),
        (("--plot", "none/x.png"), ("the plot's folder must exist; there is none for none/x.png",)),
        (("--preset", "kv260", "--system", "x.json"), ("--preset or --system, not both",)),
    ],
)
def test_bad_input(arguments, parts):
    refused(invoke(*arguments), *parts)


def test_an_unknown_key_is_named_with_its_line(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{\n "schema": "signacc-serving-1",\n "acelerators": 3\n}')
    refused(invoke("--config", str(path)), f"{path}, line 3: keys must be among", "not acelerators")
