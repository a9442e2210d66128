"""Operators on train.py: what they write parses, differs in marked regions alone, and comes back as
edits. The ideas train, in the box's Python.
"""

import json
import subprocess
import sys
from random import Random

import libcst
import numpy as np
import pytest
from conftest import ROOT
from safetensors.numpy import save_file

from configs.build import plain
from configs.errors import BadInput
from configs.job import Order
from configs.recipe import Recipe
from configs.records import Edit
from configs.tokens import Task
from loop.plan import _apply_edit
from loop.propose.evolve import mutate, patch
from loop.propose.evolve.ideas import CALLS, IDEAS

TRAIN = (ROOT / "models" / "train.py").read_text()


def applied(before: str, found: list[dict[str, str]]) -> str:
    data = before.encode()
    for number, one in enumerate(found):
        data = _apply_edit(data, Edit(**one), number)  # as the loop applies a proposal
    return data.decode()


def test_a_child_parses_differs_in_regions_alone_and_comes_back_from_its_edits():
    text, kinds = TRAIN, set()
    for seed in range(150):
        child, said = mutate.mutate(text, Random(seed), others=(TRAIN,))
        assert libcst.parse_module(child).code == child != text and said
        assert patch.REGION.sub("", child) == patch.REGION.sub("", TRAIN)
        assert applied(text, patch.edits(text, child)) == child
        kinds |= {one.partition(" in ")[0] for one in said}
        text = child if seed % 10 else TRAIN  # changes pile up, as they do in a lineage
    assert len(kinds) > 30


def test_the_same_seed_gives_the_same_child_and_another_seed_another():
    assert mutate.mutate(TRAIN, Random(3)) == mutate.mutate(TRAIN, Random(3))
    assert len({mutate.mutate(TRAIN, Random(seed))[0] for seed in range(20)}) > 15


@pytest.mark.parametrize("name", sorted(mutate.OPERATORS))
def test_every_operator_changes_the_pristine_program(name):
    assert any(mutate._apply(TRAIN, name, Random(seed)) for seed in range(20))


def test_a_region_of_another_program_is_taken_whole():
    other = mutate.put_region(TRAIN, "loss", "def loss_of(*a):\n    return 0\n")
    child, said = mutate._graft(TRAIN, other, Random(1))
    assert child == other and said == "loss of another program"


def with_idea(name):
    """The pristine program with one idea in every place where it fits, as (region, text)."""
    for where, body in patch.regions(TRAIN).items():
        tree = libcst.parse_module(body)
        functions = [
            n
            for n in mutate._walk(tree)
            if isinstance(n, libcst.FunctionDef) and n.name.value == IDEAS[name].function
        ]
        for function in functions:
            found = {
                tree.deep_replace(
                    function.body, mutate._put_idea(function.body, IDEAS[name], Random(s))
                ).code
                for s in range(9)
            }
            yield from (mutate.put_region(TRAIN, where, one) for one in sorted(found))


RUN = """
import json, sys, types
sys.path.insert(0, sys.argv[1])
import torch
from configs.build import parse
from configs.job import Order
from safetensors.torch import load_file
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
order, items = parse(Order, json.load(open(sys.argv[2] + "/order.json"))), load_file(sys.argv[2] \
+ "/items.safetensors")["items"]
for name, text in json.load(open(sys.argv[2] + "/texts.json")):
    module = types.ModuleType("candidate")
    exec(compile(text, name, "exec"), module.__dict__)
    net, loss = module.train(order, items)
    print(json.dumps([name, loss, sum(p.double().sum().item() for p in net.parameters())]))
"""


def test_every_idea_and_every_call_finds_its_place_trains_and_matters(tmp_path, box_env):
    calls = {
        f"{old} -> {new}": TRAIN.replace(old + "(", new + "(")
        for old, put in CALLS.items()
        for new in put
        if old + "(" in TRAIN
    }
    texts = [
        ("pristine", TRAIN),
        *((name, text) for name in IDEAS for text in with_idea(name)),
        *calls.items(),
    ]
    assert {name for name, _ in texts} >= IDEAS.keys() and len(calls) >= 6
    recipe = Recipe(
        width=16,
        depth=1,
        heads=1,
        batch_size=16,
        schedule="cosine",
        curriculum=0.4,
        warmup=0.1,
        gradient_clip=1.0,
        learning_rate=0.01,
    )
    order = Order(
        role="train",
        task=Task(name="addition", digits=1, train_items=100),
        recipe=recipe,
        seed=1,
        steps=12,
    )
    items = np.random.default_rng(0).integers(2, 12, (100, 6)).astype(np.uint8)
    (tmp_path / "order.json").write_text(json.dumps(plain(order)))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    save_file({"items": items}, tmp_path / "items.safetensors")
    done = subprocess.run(
        [box_env / "bin" / "python", "-c", RUN, ROOT, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-800:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(texts) and all(np.isfinite(row[1]) for row in rows), rows
    weights = {name: {w for n, _, w in rows if n == name} for name, *_ in rows}
    idle = [name for name in IDEAS if weights[name] == weights["pristine"]]
    assert not idle, idle  # some place of each idea changes the weights


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = a" + ".b" * 20_000, "does not compile"),
        ("x = " + "1+" * 20_000 + "1", "does not compile"),
        ("x = (" * 300, "does not compile"),
        ("return 1", "does not compile"),
        ("x = '\0'", "does not compile"),
        ("# " + "x" * 70_000, "at most 60000"),
        ("x = 1\n", "nothing that an operator"),
        ("", "nothing that an operator"),
        ("# region: loss\n# endregion\n", "nothing that an operator"),
        ("# region: loss\nx = a" + ".b" * 900 + "\n# endregion\n", "nested 904 deep"),
        (
            "# region: loss\nif 1: pass\n" + "elif 1: pass\n" * 200 + "# endregion\n",
            "nested 203 deep",
        ),
        ("# region: loss\nif 1:\n# endregion\n    pass\n", "nothing that an operator"),
        (TRAIN.replace("# endregion", ""), "nothing that an operator"),
    ],
    ids=range(13),
)
def test_a_hostile_or_regionless_parent_is_refused_in_one_sentence(text, why):
    with pytest.raises(BadInput, match=why):
        mutate.mutate(text, Random(1))


def test_the_parser_is_kept_from_what_would_end_its_process():
    """The ablation: without `refuse`, such a text kills the process that parses it (here in a
    thread with less stack, so that it takes no minute).
    """
    code = """
import resource, sys, threading, libcst
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
threading.stack_size(262_144)
one = threading.Thread(target=libcst.parse_module, args=(sys.stdin.read(),))
one.start(); one.join()
"""
    text = "x = a" + ".b" * 1500
    with pytest.raises(BadInput, match="nested"):
        patch.refuse(text)
    done = subprocess.run([sys.executable, "-c", code], input=text, text=True, capture_output=True)
    assert done.returncode < 0  # a signal, no exception


def test_a_patch_outside_the_regions_is_refused():
    inside = TRAIN.replace("0.5 * (1 + math", "0.6 * (1 + math")
    patch.check(TRAIN, inside)
    for child in (
        TRAIN.replace("import math", "import os"),
        TRAIN.replace("# endregion", "# the end", 1),
        TRAIN + "x = 1\n",
    ):
        with pytest.raises(BadInput, match="outside its marked regions"):
            patch.check(TRAIN, child)
    with pytest.raises(BadInput, match="does not compile"):
        patch.check(TRAIN, inside.replace("0.6 *", "0.6 * *"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\na\na\n", "a\nb\na\n"),
        ("a\nb\n", "b\n"),
        ("a\nb\n", "a\nb\nc\n"),
        ("a\n", "x\n"),
        ("b\na\nb\n", "b\na\nb\nb\n"),
        ("a\rb\x0cc", "a\rc"),
        ("a\n", "a\na\n"),
        ("a\nb\na\nb\n", "a\nb\n"),
        ("x\n" * 9000 + "y\n", "z\n" + "x\n" * 9000),
        ("y\n" + "x\n" * 5000 + "y\n", "x\n" * 5003),
        (
            "".join(f"{i}\n" for i in range(60)),
            "".join(f"{i}{'!' * (i % 3 == 0)}\n" for i in range(60)),
        ),
    ],
)
def test_edits_lead_from_any_text_to_any_other(before, after):
    found = patch.edits(before, after)
    assert applied(before, found) == after and len(found) <= patch.MOST_EDITS


def test_programs_are_apart_by_tokens_not_by_layout_comments_or_the_third_digit():
    same = (
        TRAIN.replace("# (N, T)", "# rows")
        .replace("easy ones first: sums", "something else")
        .replace("0.5 * (1 +", "0.5004 * (1  +")
    )
    assert same != TRAIN and patch.apart(patch.grams(TRAIN), patch.grams(same)) == 0
    assert (
        patch.apart(patch.grams(TRAIN), patch.grams(TRAIN.replace("0.5 * (1 +", "0.6 * (1 +"))) == 6
    )
    assert (
        patch.apart(patch.grams("(" * 9), patch.grams(TRAIN)) > 500
    )  # no Python, and still a number
