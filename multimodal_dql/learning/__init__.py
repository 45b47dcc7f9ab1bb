"""Learning from transitions inside the TensorFlow graph: update function, replay, explicit gradients of plain networks.

`update` is the one update function, `graph_replay` stores and samples, `learner` runs many updates in one call,
`dueling_mlp` is a plain network whose gradient is written out. TensorFlow is imported when something is built.
"""
