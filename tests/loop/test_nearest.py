import numpy as np
import pytest
from safetensors.numpy import save

from evals.score import distance
from loop.facts.nearest import RANKED, SHORTLIST, Nearest
from sandbox.ledger import Ledger
from sandbox.store import Store

SIZE = 400


class Counted(Store):
    reads = 0

    def get(self, name):
        self.reads += 1
        return super().get(name)


@pytest.fixture
def book(tmp_path):
    return Ledger.file(tmp_path / "ledger.sqlite", create=True), Counted(tmp_path / "store")


def train(book, number, vector):
    ledger, store = book
    name = store.put(save({"w": vector.astype(np.float32)}))
    ledger.append(
        "start",
        {"job": {"plan": f"p{number}", "role": "train", "index": 0, "order": {"seed": number}}},
    )
    ledger.append(
        "job",
        {
            "plan": f"p{number}",
            "role": "train",
            "index": 0,
            "result": {"outputs": {"weights.safetensors": name}},
        },
    )
    return name


def test_a_copy_is_found_among_more_strangers_than_are_ranked_at_its_true_distance(book):
    rng, nearest = np.random.default_rng(0), Nearest(*book, b"secret")
    vectors = [rng.standard_normal(SIZE) for _ in range(2 * RANKED)]
    for number, vector in enumerate(vectors):
        train(book, number, vector)
    near = vectors[137] + 0.005 * rng.standard_normal(SIZE)
    found = nearest.find(train(book, 999, near), 999)
    assert found == {
        "compared": 2 * RANKED,
        "plan": "p137",
        "distance": round(distance(vectors[137].astype(np.float32).astype(float), near), 4),
    }
    assert found["distance"] < 0.01


def test_a_training_costs_the_same_reads_however_many_there_were(book):
    rng, nearest, reads = np.random.default_rng(1), Nearest(*book, b"secret"), []
    for number in range(60):
        name = train(book, number, rng.standard_normal(SIZE))
        before = book[1].reads
        nearest.find(name, number)
        reads.append(book[1].reads - before)
    assert max(reads) <= SHORTLIST + 2 and reads[-1] == reads[20]


def test_neither_its_own_training_nor_its_seed_s_twin_is_a_copy_and_another_size_is_no_neighbour(
    book,
):
    nearest, vector = Nearest(*book, b"secret"), np.arange(1.0, 9.0)
    name = train(book, 1, vector)
    assert nearest.find(name, 1) == {"compared": 0, "plan": "", "distance": None}
    train(book, 2, np.arange(1.0, 10.0))
    assert nearest.find(name, 1) == {"compared": 1, "plan": "", "distance": None}
    train(book, 3, vector)
    assert nearest.find(name, 1) == {"compared": 2, "plan": "p3", "distance": 0.0}


def test_the_signs_of_a_sketch_hang_on_the_secret(book):
    vector = np.random.default_rng(2).standard_normal(SIZE)
    one, other = (Nearest(*book, key)._sketch(vector) for key in (b"one", b"other"))
    assert not np.allclose(one, other) and float(one @ one) == pytest.approx(
        float(vector @ vector), rel=0.6
    )


def test_broken_weights_have_no_neighbour_and_break_nothing(book):
    ledger, store = book
    nearest, name = Nearest(*book, b"secret"), store.put(b"not weights")
    ledger.append(
        "start", {"job": {"plan": "p0", "role": "train", "index": 0, "order": {"seed": 0}}}
    )
    ledger.append(
        "job",
        {
            "plan": "p0",
            "role": "train",
            "index": 0,
            "result": {"outputs": {"weights.safetensors": name}},
        },
    )
    assert nearest.find(train(book, 1, np.ones(4)), 1) == {
        "compared": 1,
        "plan": "",
        "distance": None,
    }
    assert nearest.find(name, 5) == {"compared": 2, "plan": "", "distance": None}
