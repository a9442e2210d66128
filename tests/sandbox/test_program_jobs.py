"""Jobs of a training program of a person's own, in a real box: what they find, leave and see."""

import json

import numpy as np
import pytest
from conftest import ROOT, need_box
from programs import PREDICT, TRAIN
from safetensors.numpy import load, save

from configs.build import parse
from configs.job import Limits, Order
from configs.recipe import Recipe
from configs.settings.program import Program
from configs.tokens import Task
from evals.program import FILE, inspect_outputs
from evals.score import score
from sandbox.box.base import Execution
from sandbox.box.namespace import NamespaceBox
from sandbox.canonical import canonical
from sandbox.run import OUTPUTS

FORMAT = Task(name="custom", question=6, answer=1, values=8, items="x", held_out=60)
HARNESS = (ROOT / "models" / "program" / "harness.py").read_bytes()
SETTINGS = {
    "metric": "exact_match",
    "data": ["data.py"],
    "may_change": {"train.py": "patch"},
    "planned_cpu_seconds": 1.0,
    "seed_deviation": 0.02,
    "held_out": 60,
}


@pytest.fixture(scope="module")
def box():
    made = need_box(lambda: NamespaceBox(ROOT / ".box"))
    yield made
    made.close()


def rows(count=200):
    """Return items in canonical tokens: six values, the separator, the first value plus 3."""
    asked = np.random.default_rng(3).integers(0, 8, (count, 6))
    whole = [asked + 2, np.ones((count, 1), int), (asked[:, :1] + 3) % 4 + 2]
    return np.concatenate(whole, axis=1).astype(np.uint8)


def run(box, role, inputs, settings=SETTINGS, **files):
    """Run one job of the small program with some files changed."""
    about = parse(Program, settings)
    whole = {"train.py": TRAIN, "predict.py": PREDICT, **files}
    named = {"files": about.places(), "not_in_predict": about.not_in_predict()}
    bundle = {place: whole[name].encode() for name, place in about.places().items()}
    order = Order(role=role, task=FORMAT, recipe=Recipe(), seed=2**40 + 7, steps=300)
    given = {
        "models/__init__.py": HARNESS,
        "models/program.json": canonical(named),
        "job.json": canonical(order),
        **bundle,
        **inputs,
    }
    return box.run(Execution(role=role, files=given, limits=Limits(), outputs=OUTPUTS[role]))


def train(box, settings=SETTINGS, **files):
    return run(box, "train", {"data.safetensors": save({"items": rows()})}, settings, **files)


def predict(box, weights, settings=SETTINGS, **files):
    asked = {"questions.safetensors": save({"questions": rows()[:60, :7].copy()})}
    return run(box, "predict", {"weights.safetensors": weights, **asked}, settings, **files)


def failure(result):
    assert result.status == "program" and not result.files, result
    return result.log.decode()


def test_what_training_leaves_is_judged_by_predictions_alone(box):
    trained = train(box)
    assert trained.status == "ok", trained.log.decode()
    weights = trained.files["weights.safetensors"]
    assert list(load(weights)) == [f"{FILE}table.json"]
    predicted = predict(box, weights)
    assert predicted.status == "ok", predicted.log.decode()
    made = score(
        predicted.files["predictions.safetensors"], rows()[:60], FORMAT, Recipe(), "confirm", 1, 1
    )
    assert made.exact_match == 1.0


def test_a_script_finds_its_seed_its_compute_and_no_code_of_ours(box):
    look = (
        "import os, sys\nassert __name__ == '__main__' and sys.argv == ['train.py']\n"
        "assert os.environ['HEIRLOOP_SEED'] == '7', os.environ\n"
        "assert os.environ['HEIRLOOP_CPU_SECONDS'] == '0.3'\n"
        "assert not [n for n in sys.modules if n.split('.')[0] in ('models', 'configs')]\n"
        "import models\nassert models.MINE == 5\n"
        "open('out/w', 'w').write('w')\nsys.exit(0)\n"
    )
    settings = {**SETTINGS, "files": ["models.py"]}
    result = train(box, settings, **{"train.py": look, "models.py": "MINE = 5\n"})
    assert result.status == "ok", result.log.decode()


def test_an_agent_finds_the_training_program_in_its_folder_and_runs_beside_the_harness(box):
    program = (
        "import os\nfrom pathlib import Path\n"
        "names = sorted(str(path) for path in Path('.').rglob('*') if path.is_file())\n"
        "Path('notes').write_text(' '.join(names) + Path('models/train.py').read_text())\n"
    )
    beside = {
        "program": program.encode(),
        "models/agent.py": (ROOT / "models" / "agent.py").read_bytes(),
        "history.json": b"{}",
    }
    result = run(box, "agent", beside)
    assert result.status == "ok", result.log.decode()
    names = "history.json models/__init__.py models/agent.py models/program.json models/train.py"
    assert result.files["notes"].decode() == f"{names} task/predict.py{TRAIN}"


LEAVE = """
for place in ("/tmp/left", "/tmp/task/left", "/dev/shm/left", "/out/left", "data/left"):
    open(place, "w").write("left")
open("out/w", "w").write("w")
"""
FIND = """
import os
print("found", [folder for folder in ("/tmp", "/tmp/task", "/dev/shm", "/out", "/in", "data")
    if "left" in os.listdir(folder)], sorted(os.listdir("out")), sorted(os.listdir("data")))
"""


def test_predict_finds_out_and_nothing_else_that_train_left(box):
    trained = train(box, **{"train.py": LEAVE})
    assert trained.status == "ok", trained.log.decode()
    log = failure(predict(box, trained.files["weights.safetensors"], **{"predict.py": FIND}))
    assert "found [] ['w'] ['questions.npy']" in log and "wrote no predictions.npy" in log


NESTED = """
import os
os.mkdir("out/deep")
open("out/deep/w", "w").write("deep")
os.symlink("/etc", "out/link")
"""
SHOW = "print('deep:', open('out/deep/w').read())"


def test_folders_of_out_come_along_and_nothing_is_written_beside_it(box):
    trained = train(box, **{"train.py": NESTED})
    weights = trained.files["weights.safetensors"]
    assert list(load(weights)) == [f"{FILE}deep/w"]
    assert "deep: deep" in failure(predict(box, weights, **{"predict.py": SHOW}))
    for name in ("../predict.py", "/tmp/task/predict.py", "deep/../../predict.py"):
        hostile = save({f"{FILE}{name}": np.frombuffer(b"print('mine')", "u1")})
        assert "a file outside out/" in failure(predict(box, hostile))


OPEN = "import pickle\npickle.load(open('out/model.pkl', 'rb'))\n" + PREDICT.replace(
    'open("out/table.json")', "open('out/table.json')"
)
PICKLE = (
    TRAIN
    + """
import pickle
class Loaded:
    def __reduce__(self):
        return (print, ("opened in a box",))
pickle.dump(Loaded(), open("out/model.pkl", "wb"))
"""
)


def test_weights_that_are_code_run_in_a_predict_job_and_nowhere_else(box, capsys):
    trained = train(box, **{"train.py": PICKLE})
    weights = trained.files["weights.safetensors"]
    assert inspect_outputs(weights, "files") == ""
    assert "opened" not in capsys.readouterr().out + trained.log.decode()
    predicted = predict(box, weights, **{"predict.py": OPEN})
    assert predicted.status == "ok" and "opened in a box" in predicted.log.decode()


NUMBERS = """
import numpy as np
from safetensors.numpy import save_file
save_file({"w": np.ones(3, "f4")}, "out/weights.safetensors")
"""
IMPORTS = "import train\n"


@pytest.mark.parametrize("weights", ["safetensors", "files"])
def test_changed_code_reaches_no_prediction_where_weights_are_numbers(box, weights):
    """The ablation is the other kind of weights: there the file is at hand."""
    settings = {**SETTINGS, "weights": weights}
    trained = train(box, settings, **{"train.py": NUMBERS})
    data = trained.files["weights.safetensors"]
    assert inspect_outputs(data, "safetensors") == "" and list(load(data)) == ["w"]
    log = failure(predict(box, data, settings, **{"train.py": "X = 1", "predict.py": IMPORTS}))
    assert ("No module named 'train'" in log) == (weights == "safetensors")
    assert ("wrote no predictions.npy" in log) == (weights == "files")


@pytest.mark.parametrize(
    "script, reason",
    [
        ("", "left nothing in out/"),
        ("import sys\nsys.exit(3)", ""),
        ("raise ValueError('no')", "ValueError: no"),
        ("open('out/w', 'w').write('w' * 17_000_000)", ""),
    ],
)
def test_a_training_that_fails_says_why(box, script, reason):
    result = train(box, **{"train.py": script})
    assert result.status == "program" and reason in result.log.decode()


@pytest.mark.parametrize(
    "made, right",
    [
        ("np.ones((60, 8), 'f4') / 8", True),
        ("np.ones((60, 1, 4)) / 4", True),
        ("np.ones((60, 9), 'f4') / 9", False),
        ("np.ones((60, 2, 8), 'f4')", False),
        ("np.ones((60, 8), 'i4')", False),
        ("np.ones((60, 0), 'f4')", False),
        ("np.ones(60, 'f4')", False),
        ("np.asfortranarray(np.ones((60, 8), 'f4'))", False),
    ],
)
def test_predictions_have_a_probability_of_each_value(box, made, right):
    script = f"import numpy as np\nnp.save('predictions.npy', {made})"
    weights = save({f"{FILE}w": np.ones(1, "u1")})
    result = predict(box, weights, **{"predict.py": script})
    if right:
        found = load(result.files["predictions.safetensors"])
        assert found["tokens"].shape == (60, 1) and found["probabilities"].shape == (60, 1, 10)
        assert np.allclose(found["probabilities"].sum(2), 1)
    else:
        assert "it should be float32 (N, 1, 8)" in failure(result)


def test_a_proposing_program_reads_the_champions_program(box):
    program = (ROOT / "docs" / "examples" / "constant_proposer.py").read_bytes()
    text = "\nlearning_rate = 0.001\nblock = 3\n"
    history = {"count": 3, "trials": []}
    inputs = {"program": program, "history.json": json.dumps(history).encode()}
    result = run(box, "propose", inputs, **{"train.py": text})
    assert result.status == "ok", result.log.decode()
    lines = list(map(json.loads, result.files["proposals.jsonl"].decode().splitlines()))
    assert len(lines) == 3 and all(text.count(line["edits"][0]["search"]) == 1 for line in lines)
