"""How the traffic of a running test is shared out: a Q-network that learned it from simulated tests.

    policy = train_allocation(model, AllocationConfig())
    policy.probabilities(state)                  # like any other policy; reads counts, horizon and content prior

The network is a `CandidateQNetwork` trained with Q(lambda) in HeadlineTest-v0 (`training`), exported to NumPy
(`network`) and kept as JSON and safetensors (`file`).
"""
