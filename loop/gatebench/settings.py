"""Compose the settings of a bench from configs/gatebench.yaml and overrides."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.build import parse
from configs.errors import BadInput
from configs.settings.gatebench import Bench
from loop.plan import ROOT
from loop.settings import explain


def compose_bench(overrides: Sequence[str]) -> Bench:
    """Return the settings of a bench; raises BadInput with the name of the wrong field."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        try:
            return parse(Bench, OmegaConf.to_object(compose("gatebench", list(overrides))))
        except (HydraException, OmegaConfBaseException, BadInput) as error:
            raise explain(error, overrides) from None
