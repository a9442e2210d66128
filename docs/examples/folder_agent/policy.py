"""Which changes of the champion are worth a proposal; the numbers were set by hand."""

# region: policy
TRIALS, DRAWS, MOVES = 2, 30, 1
TRUST, LUCK, SHRINK = 1.0, 1.0, 1.0


def worth(scores, mean):
    """How much better than the mean trial those with a value were, shrunk where they are few."""
    return sum(score - mean for score in scores) / (SHRINK + len(scores))


# endregion


def rank(history, rng):
    """Yield proposals, the most promising first: drawn moves by what is known of their values."""
    champion, grid = history["champion"], history["grid"]
    scored = [trial for trial in history["trials"] if trial["score"] is not None]
    mean = sum(trial["score"] for trial in scored) / max(1, len(scored))
    barred = [champion, *history["barred"], *(trial["recipe"] for trial in history["trials"])]
    free = sorted(knob for knob, values in grid.items() if set(values) - {champion[knob]})
    drafts = []
    for _ in range(max(8, min(200, int(DRAWS)))):
        changed, gain = {}, 0.0
        for knob in rng.sample(free, max(1, min(2, int(MOVES)))):
            changed[knob] = rng.choice([value for value in grid[knob] if value != champion[knob]])
            for value, sign in ((changed[knob], 1), (champion[knob], -1)):
                own = [trial["score"] for trial in scored if trial["recipe"][knob] == value]
                gain += sign * worth(own, mean)
        drafts.append((TRUST * gain + LUCK * rng.random(), len(drafts), changed))
    for _, _, changed in sorted(drafts, reverse=True):
        if {**champion, **changed} not in barred:
            barred.append({**champion, **changed})
            yield {"hypothesis": "worth and luck", "knobs": changed}
