"""The ranking names whom a look at everybody would."""

from random import Random

from headway_sim.ranking import Ranking


def test_it_is_the_first_of_those_with_the_fewest() -> None:
    rng = Random(1)
    loads = dict.fromkeys("abcdef", 0)
    ranking = Ranking(loads.__getitem__)
    serving = tuple(loads)
    ranking.apply(serving)
    for _ in range(5000):
        if rng.random() < 0.02:
            serving = tuple(name for name in loads if rng.random() < 0.7)
            ranking.apply(serving)
        changed = rng.choice(list(loads))
        loads[changed] = max(0, loads[changed] + rng.choice([-1, 1]))
        ranking.changed(changed)
        other_than = rng.choice(list(loads))
        others = [name for name in serving if name != other_than]
        assert ranking.least(other_than) == min(others, key=loads.__getitem__, default=None)
