"""The scenarios of the engagement model as Gymnasium environments, registered when this package is imported.

    import gymnasium
    import multimodal_dql.simulation.scenarios

    env = gymnasium.make("MultimodalDQL/HeadlineTest-v0")
    envs = gymnasium.make_vec("MultimodalDQL/HeadlineTest-v0", num_envs=1024)

``gymnasium.make("multimodal_dql.simulation.scenarios:MultimodalDQL/HeadlineTest-v0")`` needs no import. Nothing heavy
is loaded before an environment is made.
"""

from __future__ import annotations

__all__ = ["IDS", "register"]

_WHERE = {
    "Recommendation": "recommendation",
    "Ads": "ads",
    "HeadlineTest": "headline_test",
    "Generation": "generation",
}
IDS = tuple(f"MultimodalDQL/{name}-v0" for name in _WHERE)
"""The registered environments."""


def register() -> None:
    """Make the environments known to Gymnasium; done already on import, and harmless when repeated."""
    from gymnasium.envs.registration import register as add
    from gymnasium.envs.registration import registry

    for env_id, (name, module) in zip(IDS, _WHERE.items(), strict=True):
        if env_id not in registry:
            place = f"{__name__}.{module}:{name}"
            add(env_id, entry_point=f"{place}Env", vector_entry_point=f"{place}VectorEnv")


register()
