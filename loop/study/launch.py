"""On which machines do a study's jobs run: in a box here, or in the boxes of a cluster's nodes?"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.entries import NodeEntry
from configs.settings.config import Config
from loop.study.box import SIMULATED, demand_tier, make_real_box
from sandbox.box.base import Box
from sandbox.box.cluster import ClusterBox
from sandbox.ledger import Ledger


def make_box(config: Config) -> Box:
    """Return the box named in the settings. Raises NoBox with the remedy.

    `auto` is the namespace box, else Docker. A box below the demanded tier is refused. With a
    launcher it is the boxes of all its nodes.
    """
    if config.launcher.kind == "ray":
        from loop.study.ray_nodes import connect  # loads Ray

        return demand_tier(connect(config.launcher.address, config.box), config.box)
    simulated = SIMULATED.get(config.box.kind)
    return demand_tier(simulated(config), config.box) if simulated else make_real_box(config.box)


def serve(box: Box, ledger: Ledger, key: Ed25519PrivateKey) -> None:
    """Let the nodes of a study, if it has any, run what its key signs; record them."""
    if isinstance(box, ClusterBox):
        with ledger.transaction() as txn:
            txn.extend([NodeEntry(node=stated) for stated in box.serve(key)])
