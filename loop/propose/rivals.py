"""Rivals without weights: a uniform draw, a step from the champion, and TPE (Bergstra et al. 2011,
by Optuna). They propose recipes alone.
"""

from collections.abc import Mapping
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from configs.history import Trial
from configs.recipe import Recipe
from loop.propose.scene import Scene, draw, proposal


def propose_random(scene: Scene) -> str:
    """Draw every knob uniformly from its grid."""
    return proposal(
        scene.history.champion,
        draw(scene.rng, scene.history.champion, scene.history.grid),
        "uniform draw from the grid",
    )


def propose_local(scene: Scene) -> str:
    """Change one to `mutations` knobs of the champion to other grid values; never a recipe that was
    tried.
    """
    grid, champion = scene.history.grid, scene.history.champion
    tried = [trial.recipe for trial in scene.history.trials]
    recipe, before = champion, plain(champion)
    for _ in range(200):
        names = scene.rng.sample(
            sorted(grid), scene.rng.randint(1, min(scene.settings.mutations, len(grid)))
        )
        recipe = draw(
            scene.rng,
            champion,
            {name: tuple(v for v in grid[name] if v != before[name]) for name in names},
        )
        if recipe not in tried:
            break
    return proposal(champion, recipe, "a step from the champion's recipe")


def propose_tpe(scene: Scene) -> str:
    """Ask Optuna's TPE for the next recipe, its study rebuilt from the history; never a recipe that
    was tried, as far as 50 draws find one.

    A score that the Ladder does not tell is a pruned trial: worse than what is told, by how much is
    unknown. A failure is a pruned trial of no value, the worst; what waits is running, and TPE
    keeps away from it.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    history = scene.history
    space = {
        name: _distribution(values) for name, values in history.grid.items() if len(values) > 1
    }
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=scene.rng.getrandbits(32))
    )
    for trial in history.trials:
        study.add_trial(_told(trial, history.grid, space))
    tried, recipe = {trial.recipe for trial in history.trials}, history.champion
    for attempt in range(50):
        drawn = study.ask(space)
        found = {name: _value(drawn.params[name], history.grid[name]) for name in space}
        found |= {"heads": 1} if attempt > 40 else {}
        try:
            recipe = Recipe(**{**plain(history.champion), **found})
        except BadInput:  # heads that do not divide the width
            study.tell(drawn, state=optuna.trial.TrialState.FAIL)
            continue
        if recipe not in tried:
            break
    return proposal(
        history.champion, recipe, "drawn by TPE where good trials are denser than the others"
    )


def _distribution(values: tuple[Any, ...]) -> Any:
    """Words are categories; numbers, which stand in order of size, are places on a scale."""
    import optuna

    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(values)
    return optuna.distributions.IntDistribution(0, len(values) - 1)


def _told(trial: Trial, grid: Mapping[str, tuple[Any, ...]], space: Mapping[str, Any]) -> Any:
    """Return a trial as Optuna keeps it; a number off the grid stands at its nearest place, a word
    off the grid leaves its knob out.
    """
    import optuna

    states = optuna.trial.TrialState
    params = {name: _place(getattr(trial.recipe, name), grid[name]) for name in space}
    params = {name: place for name, place in params.items() if place is not None}
    state = (
        states.RUNNING
        if trial.outcome == "waiting"
        else states.PRUNED
        if trial.score is None
        else states.COMPLETE
    )
    between = {1: 0.0} if trial.outcome == "not better" else {}
    return optuna.trial.create_trial(
        state=state,
        value=trial.score,
        params=params,
        intermediate_values=between,
        distributions={name: space[name] for name in params},
    )


def _place(value: Any, values: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        return value if value in values else None
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def _value(place: Any, values: tuple[Any, ...]) -> Any:
    return place if isinstance(place, str) else values[place]
