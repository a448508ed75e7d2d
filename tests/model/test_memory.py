import json

import pytest
from click.testing import CliRunner

from golden.config import named_model
from golden.errors import InputError
from model.memory import estimate, main


def test_the_7b_shape_by_hand():
    parts = estimate(named_model("fbi-7b"), devices=8, micro=1, context=2048, recompute=True)
    scales = 32 * 2 * (6 * 4096 + 11008)  # α and β of the seven linears
    parameters = 6_738_415_616 + scales
    assert parts["parameters, gradients, moments"] == 16 * parameters // 8
    assert parts["binarized weights"] == 2 * 6_476_005_376 // 32
    per_layer = 2 * (4 * 4096 + 4 * 4096 + 4096 + 3 * 11008)
    assert parts["activations"] == 2048 * (32 * 2 * 4096 + per_layer)
    assert parts["total"] == sum(v for k, v in parts.items() if k != "total")
    whole = estimate(named_model("fbi-7b"), devices=8, micro=1, context=2048)
    assert whole["binarized weights"] == 2 * 6_476_005_376
    alone = estimate(named_model("fbi-7b"), devices=8, micro=1, context=2048, engine="ddp")
    assert alone["parameters, gradients, moments"] == 16 * parameters
    assert alone["gathered"] == 0


def test_the_command_and_bad_options():
    result = CliRunner().invoke(main, ["--model", "fbi-130m", "--devices", "1"])
    assert json.loads(result.output)["mark"] == "modelled"
    bad = CliRunner().invoke(main, ["--model", "fbi-130m", "--devices", "0"])
    assert bad.exit_code == 2
    assert "must be at least 1, not 0, 1, 2048" in bad.output
    with pytest.raises(InputError, match="not 1, 0, 8"):
        estimate(named_model("fbi-130m"), devices=1, micro=0, context=8)
