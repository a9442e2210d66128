import numpy as np
import pytest
from safetensors.numpy import save

from configs.entries import JobEntry, StartEntry
from configs.job import Limits, Order
from configs.recipe import Recipe
from configs.records import Grant, Job, JobResult, Nearest
from configs.records.plan import Amount
from configs.tokens import Task
from evals.score import distance
from loop.facts.nearest import SHORTLIST, WeightIndex
from sandbox.ledger import Ledger
from sandbox.store import Store

SIZE = 400
MANY = 512


class Counted(Store):
    reads = 0

    def get(self, name):
        self.reads += 1
        return super().get(name)


@pytest.fixture
def book(tmp_path):
    return Ledger.file(tmp_path / "ledger.sqlite", create=True), Counted(tmp_path / "store")


def record(ledger, number, weights):
    """Record a training of plan p<number>, under that seed, that gave these weights out."""
    slot = {"plan": f"p{number}", "role": "train", "index": 0}
    order = Order(role="train", task=Task(name="addition"), recipe=Recipe(), seed=number, steps=1)
    job = Job(**slot, bundle="", order=order, inputs=(), limits=Limits())
    grant = Grant(**slot, attempt=0, authority="", nonce=str(number))
    ledger.append(StartEntry(grant=grant, job=job, digest=""))
    result = JobResult(
        status="ok",
        detail="exit 0",
        charged=Amount(),
        startup_cpu_us=0,
        charged_by="plan",
        peak_bytes=0,
        outputs={"weights.safetensors": weights},
        log="",
        box="fake",
    )
    ledger.append(JobEntry(nonce=str(number), **slot, digest="", result=result))


def train(book, number, vector):
    ledger, store = book
    name = store.put(save({"w": vector.astype(np.float32)}))
    record(ledger, number, name)
    return name


def test_a_copy_is_found_among_many_strangers_at_its_true_distance(book):
    rng, index = np.random.default_rng(0), WeightIndex(*book, b"secret")
    vectors = [rng.standard_normal(SIZE) for _ in range(MANY)]
    for number, vector in enumerate(vectors):
        train(book, number, vector)
    near = vectors[137] + 0.005 * rng.standard_normal(SIZE)
    nearest = index.find(train(book, 999, near), 999)
    assert nearest == Nearest(
        compared=MANY,
        plan="p137",
        distance=round(distance(vectors[137].astype(np.float32).astype(float), near), 4),
    )
    assert nearest.distance < 0.01


def test_a_training_costs_the_same_reads_however_many_there_were(book):
    rng, index, reads = np.random.default_rng(1), WeightIndex(*book, b"secret"), []
    for number in range(60):
        name = train(book, number, rng.standard_normal(SIZE))
        before = book[1].reads
        index.find(name, number)
        reads.append(book[1].reads - before)
    assert max(reads) <= SHORTLIST + 2 and reads[-1] == reads[20]


def test_neither_its_own_training_nor_its_seed_s_twin_is_a_copy_and_another_size_is_no_neighbour(
    book,
):
    index, vector = WeightIndex(*book, b"secret"), np.arange(1.0, 9.0)
    name = train(book, 1, vector)
    assert index.find(name, 1) == Nearest(compared=0, plan="", distance=None)
    train(book, 2, np.arange(1.0, 10.0))
    assert index.find(name, 1) == Nearest(compared=1, plan="", distance=None)
    train(book, 3, vector)
    assert index.find(name, 1) == Nearest(compared=2, plan="p3", distance=0.0)


def test_the_signs_of_a_sketch_hang_on_the_secret(book):
    vector = np.random.default_rng(2).standard_normal(SIZE)
    one, other = (WeightIndex(*book, key)._sketch(vector) for key in (b"one", b"other"))
    assert not np.allclose(one, other) and float(one @ one) == pytest.approx(
        float(vector @ vector), rel=0.6
    )


def test_broken_weights_have_no_neighbour_and_break_nothing(book):
    ledger, store = book
    index, name = WeightIndex(*book, b"secret"), store.put(b"not weights")
    record(ledger, 0, name)
    assert index.find(train(book, 1, np.ones(4)), 1) == Nearest(compared=1, plan="", distance=None)
    assert index.find(name, 5) == Nearest(compared=2, plan="", distance=None)
