"""Learning from transitions: targets, losses, and training loops that know no scenario by name.

`targets` and `losses` are pure functions. `update` is the update function of replay, `graph_replay` stores and samples
inside the graph, `learner` runs many updates in one call, `dueling_mlp` is a plain network whose gradient is written
out. `parallel` learns from many environments at once, without replay; what comes out is a `scenario_agent`, which
`scenario_file` keeps on disk. TensorFlow is imported when something is built.
"""
