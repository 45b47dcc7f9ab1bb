"""Where a training lives until it has ended: ``unfinished/`` in the run directory.

Metrics, TensorBoard scalars and checkpoints are written there, so that a training that is interrupted leaves an older
run in the same directory as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from multimodal_dql.checkpoint import Checkpoint, checkpoints, latest_checkpoint
from multimodal_dql.errors import CheckpointError, MultimodalDQLError, RunError
from multimodal_dql.metrics import METRICS_FILE, TENSORBOARD
from multimodal_dql.run_file import sync_folder

__all__ = ["CHECKPOINTS", "UNFINISHED", "Notice", "drop", "find_checkpoint", "publish"]

UNFINISHED = "unfinished"
CHECKPOINTS = "checkpoints"

Notice = Callable[[MultimodalDQLError], None]
"""Called with what the user should know although nothing stops."""


def find_checkpoint(run: Path, resume: bool, limit: int, notice: Notice | None) -> Checkpoint | None:
    """Where a training in `run` begins; None is the beginning.

    Args:
        run: the run directory.
        resume: continue what was interrupted.
        limit: as in `multimodal_dql.checkpoint.read_checkpoint`.
        notice: called for every checkpoint that is refused.

    Raises:
        RunError: there is nothing to resume, or something that must not be lost by starting anew.
        CheckpointError: there are checkpoints and none can be trusted.
    """
    folder = run / UNFINISHED
    made = checkpoints(folder)
    if not resume:
        if made:
            raise RunError(
                path=run,
                detail=f"holds a training that was interrupted; continue it with --resume, or remove {folder} to start "
                "anew",
                detail_zh=f"含有一次中断的训练；请用 --resume 继续，或删除 {folder} 后重新开始",
            )
        return None
    if not folder.is_dir():
        raise RunError(
            path=run,
            detail="holds no interrupted training; start one without --resume",
            detail_zh="没有中断的训练；请去掉 --resume 重新开始",
        )
    found, refused = latest_checkpoint(folder, limit)
    if found is None and refused:
        raise refused[0]
    for error in refused:
        if notice and found:
            notice(_fallen_back(error, found.iteration))
    return found


def _fallen_back(error: CheckpointError, iteration: int) -> CheckpointError:
    return CheckpointError(
        path=error.fields["path"],
        detail=f"{error.fields['detail']}; going on from iteration {iteration} instead",
        detail_zh=f"{error.fields['detail_zh']}；改从第 {iteration} 轮继续",
    )


def publish(run: Path, keep_checkpoints: bool = False) -> None:
    """Put the metrics of a training that has ended in their place, and remove the rest.

    Args:
        run: the run directory, its agent written.
        keep_checkpoints: move them to ``checkpoints/`` instead of removing them.
    """
    folder = run / UNFINISHED
    shutil.rmtree(run / TENSORBOARD, ignore_errors=True)
    for name in (METRICS_FILE, TENSORBOARD):
        if (folder / name).exists():
            (folder / name).replace(run / name)
    if keep_checkpoints:
        shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)
        for path in checkpoints(folder):
            (run / CHECKPOINTS).mkdir(exist_ok=True)
            path.replace(run / CHECKPOINTS / path.name)
    drop(run)
    sync_folder(run)


def drop(run: Path) -> None:
    """Remove everything of a training that has ended."""
    shutil.rmtree(run / UNFINISHED, ignore_errors=True)
