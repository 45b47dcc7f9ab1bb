"""How TensorFlow shares out the processors for learning in shards."""

from __future__ import annotations

from multimodal_dql.errors import UsageError

__all__ = ["one_thread_a_shard", "shards_for"]


def shards_for(batch: int, threads: int) -> int:
    """The largest number of equal shards of `batch` that is at most `threads`."""
    return next(n for n in range(max(threads, 1), 0, -1) if batch % n == 0)


def one_thread_a_shard(threads: int) -> None:
    """One thread for each operation and `threads` operations at a time: what `UpdateConfig.shards` is made for.

    Raises:
        UsageError: TensorFlow has started already.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UsageError(
            detail="TensorFlow has started already and keeps its threads; set them before anything is computed",
            detail_zh="TensorFlow 已启动，线程数无法再改；请在任何计算之前设置",
        ) from error
