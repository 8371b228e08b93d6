"""The engine model in closed form: what `headway_sim.engine` gives, at a fraction of the cost."""
