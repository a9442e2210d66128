"""Rivals without weights: a uniform draw, a step from the champion, and TPE.

TPE is Bergstra et al. 2011, by Optuna. All propose recipes alone.
"""

from collections.abc import Mapping
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from configs.history import Trial
from configs.recipe import Recipe, knob_values
from loop.propose.limit import draw_neighbour, list_different
from loop.propose.view import ProposerView, draw, proposal

LOCAL_DRAWS, TPE_DRAWS = 200, 50
"""Draws after which a proposer repeats a recipe rather than look further."""


def propose_random(view: ProposerView) -> str:
    """Draw every knob uniformly from its grid; under a change limit, draw a legal neighbour."""
    history, limit = view.history, view.history.most_changes
    if limit:
        recipe = draw_neighbour(view.rng, history.champion, history.grid, limit)
        return proposal(history.champion, recipe, "uniform draw from the legal neighbours")
    recipe = draw(view.rng, history.champion, history.grid)
    return proposal(history.champion, recipe, "uniform draw from the grid")


def propose_same(view: ProposerView) -> str:
    """Change nothing: the candidate is the champion's recipe under seeds of its own."""
    champion = view.history.champion
    return proposal(champion, champion, "the same recipe, other seeds: nothing can be gained")


def propose_local(view: ProposerView) -> str:
    """Move up to `mutations` knobs of the champion to other grid values, within the change limit.

    An already tried recipe is drawn anew.
    """
    grid, champion = view.history.grid, view.history.champion
    limit = view.history.most_changes or len(grid)
    tried = [trial.recipe for trial in view.history.trials]
    recipe, before = champion, knob_values(champion)
    for _ in range(LOCAL_DRAWS):
        count = view.rng.randint(1, min(view.settings.mutations, len(grid), limit))
        names = view.rng.sample(sorted(grid), count)
        others = {name: tuple(v for v in grid[name] if v != before[name]) for name in names}
        recipe = draw(view.rng, champion, others)
        is_legal = not view.history.most_changes or len(list_different(champion, recipe)) <= limit
        if recipe not in tried and is_legal:
            break
    return proposal(champion, recipe, "a step from the champion's recipe")


def propose_tpe(view: ProposerView) -> str:
    """Ask Optuna's TPE for the next recipe, with its study rebuilt from the history.

    An already tried recipe is drawn anew. A score withheld by the Ladder is a pruned trial. It is
    worse than the released scores, by an unknown amount. A failure is a pruned trial without a
    value, the worst. A waiting trial is running, and TPE keeps away from it. Under a change limit
    TPE draws a random choice of as many knobs; the others stay the champion's.
    """
    import optuna  # slow to load

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    history = view.history
    space = {
        name: _distribution(values) for name, values in history.grid.items() if len(values) > 1
    }
    sampler = optuna.samplers.TPESampler(seed=view.rng.getrandbits(32))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in history.trials:
        study.add_trial(_to_optuna(trial, history.grid, space))
    recipe = _draw_new(study, space, view)
    return proposal(
        history.champion, recipe, "drawn by TPE where good trials are denser than the others"
    )


def _draw_new(study: Any, space: Mapping[str, Any], view: ProposerView) -> Recipe:
    """Return a new recipe drawn by TPE, or its last draw."""
    import optuna

    history, limit = view.history, view.history.most_changes
    tried, recipe = {trial.recipe for trial in history.trials}, history.champion
    tried |= {history.champion} if limit else set()
    for attempt in range(TPE_DRAWS):
        open_knobs = view.rng.sample(sorted(space), min(limit, len(space))) if limit else [*space]
        drawn = study.ask({name: space[name] for name in open_knobs})
        knobs = {name: _value_at(drawn.params[name], history.grid[name]) for name in open_knobs}
        if attempt > 40 and not limit:
            knobs["heads"] = 1
        try:
            recipe = Recipe(**{**plain(history.champion), **knobs})
        except BadInput:
            # The heads do not divide the width.
            study.tell(drawn, state=optuna.trial.TrialState.FAIL)
            continue
        if recipe not in tried:
            break
    return recipe


def _distribution(values: tuple[Any, ...]) -> Any:
    """Return the distribution of a knob: words are categories, numbers are places on a scale."""
    import optuna

    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(values)
    return optuna.distributions.IntDistribution(0, len(values) - 1)


def _to_optuna(trial: Trial, grid: Mapping[str, tuple[Any, ...]], space: Mapping[str, Any]) -> Any:
    """Return a trial as Optuna keeps it.

    A number off the grid stands at its nearest place; a word off the grid leaves its knob out.
    """
    import optuna

    places = {name: _place_of(getattr(trial.recipe, name), grid[name]) for name in space}
    params = {name: place for name, place in places.items() if place is not None}
    states = optuna.trial.TrialState
    state = states.PRUNED if trial.score is None else states.COMPLETE
    if trial.outcome == "waiting":
        state = states.RUNNING
    return optuna.trial.create_trial(
        state=state,
        value=trial.score,
        params=params,
        intermediate_values={1: 0.0} if trial.outcome == "not better" else {},
        distributions={name: space[name] for name in params},
    )


def _place_of(value: Any, values: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        return value if value in values else None
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def _value_at(place: Any, values: tuple[Any, ...]) -> Any:
    return place if isinstance(place, str) else values[place]
