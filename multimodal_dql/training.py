"""Learning in front of the simulated audience, or from a log of decisions.

One iteration: simulate sessions with an epsilon-greedy policy, add their transitions to the replay, take gradient
steps, and ask the monitors (`multimodal_dql.monitors`) whether to go on. From a log nothing is simulated: the replay
holds all of it from the first iteration on. The same seed gives the same weights to the
last bit, also when a training was interrupted and resumed from a checkpoint in between.
"""

from __future__ import annotations

from pathlib import Path

from multimodal_dql.agent import Agent
from multimodal_dql.calibration import known_winners
from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.errors import CatalogueError, RunError, UsageError
from multimodal_dql.experience import Simulated
from multimodal_dql.features import Features
from multimodal_dql.logged import Logged
from multimodal_dql.metrics import read_metrics
from multimodal_dql.run_file import read_file
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.train_config import TrainConfig, check_settings
from multimodal_dql.training_loop import AUDIENCE_FILE, About, Progress, Training
from multimodal_dql.unfinished import Notice

__all__ = [
    "TrainConfig",
    "read_audience",
    "read_metrics",
    "train",
    "train_from_log",
    "train_in_world",
]


def train(
    encoded: Features,
    config: TrainConfig,
    audience: EngagementConfig | None = None,
    *,
    run: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    keep_checkpoints: bool = False,
    notice: Notice | None = None,
) -> tuple[Agent, World]:
    """Train an agent on an encoded catalogue, in front of an audience drawn from the seed.

    Args:
        encoded: the catalogue's features.
        config: settings.
        audience: parameters of the simulated audience.
        run: directory for the agent, its audience, metrics and TensorBoard scalars; None keeps it in memory.
        progress: called with iteration, iterations and the latest metrics.
        resume: continue the training that was interrupted in `run`.
        keep_checkpoints: leave them in ``run/checkpoints``.
        notice: called with what the user should know although nothing stops.

    Raises:
        CatalogueError: fewer stories than folds.
        UsageError, EncoderError: settings or embeddings that nothing can be learned with.
        RunError: `run` cannot be resumed, or holds an interrupted training that starting anew would lose.
        TrainingError: a monitor stopped it. The last good weights are in `run`.
    """
    check_settings(config)
    _check_stories(encoded, config)
    items = encoded.catalogue.items
    projection = ContentProjection.fit(encoded)
    candidates = candidate_table(encoded, projection)
    people = Audience.draw(candidates, projection.widths, config.seed, audience, projection.past)
    world = World.draw(people, candidates, config.seed)
    ids = tuple(item.item_id for item in items)
    variants = [[v.variant_id for v in item.variants] for item in items]
    winners = known_winners(
        world, ids, variants, [[v.caption or "" for v in item.variants] for item in items]
    )
    training = Training(
        Simulated(world),
        projection,
        config,
        About(ids, tuple(winners), people.to_json()),
        run=run,
        progress=progress,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        notice=notice,
    )
    return training.learn(), world


def train_from_log(
    encoded: Features,
    config: TrainConfig,
    log: Path,
    *,
    run: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    keep_checkpoints: bool = False,
    notice: Notice | None = None,
    allow_personal: bool = False,
) -> tuple[Agent, Logged]:
    """Train an agent on logged decisions about an encoded catalogue; nothing is simulated.

    Args:
        encoded: the catalogue's features.
        config: settings, with ``expected_reward=False``: a log holds clicks, not their probabilities.
        log: a file or folder; see `multimodal_dql.datasets.events`.
        run: as for `train`, and the four that follow.
        progress: called with iteration, iterations and the latest metrics.
        resume: continue the training that was interrupted in `run`.
        keep_checkpoints: leave them in ``run/checkpoints``.
        notice: called with what the user should know although nothing stops.
        allow_personal: learn although values in the log look as if they named a person.

    Raises:
        EventsError: the log cannot be learned from.
        CatalogueError, UsageError, EncoderError, RunError, TrainingError: as `train`.
    """
    check_settings(config)
    if config.expected_reward:
        raise UsageError(
            detail="expected_reward is true, and a log does not know the probability of a click; set it to false",
            detail_zh="expected_reward 为 true，而日志不知道点击概率；请设为 false",
        )
    _check_stories(encoded, config)
    projection = ContentProjection.fit(encoded)
    table = candidate_table(encoded, projection)
    source = Logged(log, encoded.catalogue, table, config.seed, allow_personal=allow_personal)
    training = Training(
        source,
        projection,
        config,
        About(tuple(item.item_id for item in encoded.catalogue.items)),
        run=run,
        progress=progress,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        notice=notice,
    )
    return training.learn(), source


def _check_stories(encoded: Features, config: TrainConfig) -> None:
    """Refuse fewer stories than folds."""
    items = encoded.catalogue.items
    if len(items) < config.folds:
        raise CatalogueError(
            path=encoded.catalogue.path,
            detail=f"has {len(items)} stories to learn from, and learning needs {config.folds}; add "
            "stories, or rank with an agent that was trained on another catalogue",
            detail_zh=f"只有 {len(items)} 个条目可供学习，至少需要 {config.folds} 个；"
            "请增加条目，或用在其他目录上训练过的智能体来排序",
        )


def train_in_world(
    world: World,
    projection: ContentProjection,
    config: TrainConfig,
    *,
    run: Path | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    keep_checkpoints: bool = False,
    notice: Notice | None = None,
) -> Agent:
    """Train an agent on the stories of a world; each member leaves one fold of them out.

    Args:
        world: the simulated audience.
        projection: of the catalogue's embeddings; saved with the agent.
        config: settings.
        run: directory for weights, metrics and TensorBoard scalars; None keeps the agent in memory.
        progress: called with iteration, iterations and the latest metrics.
        resume: continue the training that was interrupted in `run`.
        keep_checkpoints: leave them in ``run/checkpoints``.
        notice: called with what the user should know although nothing stops.

    Raises:
        UsageError, EncoderError: settings or embeddings that nothing can be learned with.
        RunError: `run` cannot be resumed, or holds an interrupted training that starting anew would lose.
        TrainingError: a monitor stopped it. The last good weights are in `run`.
    """
    training = Training(
        Simulated(world),
        projection,
        config,
        About(),
        run=run,
        progress=progress,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        notice=notice,
    )
    return training.learn()


def read_audience(run: Path) -> Audience:
    """The audience a run was trained in front of. Raises `RunError`."""
    try:
        return Audience.from_json(read_file(run / AUDIENCE_FILE).decode("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RunError(
            path=run / AUDIENCE_FILE,
            detail="is missing or damaged; copy the run again or train anew",
            detail_zh="缺失或已损坏；请重新复制该运行或重新训练",
        ) from error
