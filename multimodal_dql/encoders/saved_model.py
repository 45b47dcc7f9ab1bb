"""What a SavedModel asks for, read before TensorFlow runs a part of it.

A SavedModel is a program: its graph may read and write files, call Python, open connections. Its operators are listed
here without running any, and one that does more than compute is refused. Saving and restoring variables, which every
SavedModel can do, counts only inside the functions that TensorFlow wrote for it and that nothing else calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.errors import EncoderError

__all__ = ["check_saved_model"]

_OUTSIDE = re.compile(
    r"File|Reader|PyFunc|Rpc|Socket|Remote|Summary|Debug|Dump|Print|Dataset|Iterator|Collective|Send|Recv|Enqueue|"
    r"Dequeue|Checkpoint|Save|Restore|Url|Tpu|TPU|Xla|Cache|Snapshot|Bigtable|Audio(?!Spectrogram)|Cudnn|Infeed|"
    r"Outfeed|Stage|Barrier|Distribut|Host|Compile|Custom|ImportEvent|Sql|BatchFunction|Proto(V2)?$|LoadAndRemap|Nccl|Session|Heartbeat"
)
"""Names of operators that reach beyond the numbers they are given."""

_STATEFUL = re.compile(
    r"^(VarHandleOp|ReadVariableOp|Assign(Add|Sub)?VariableOp|VarIsInitializedOp|Variable(V2|Shape)?|TemporaryVariable|"
    r"Resource(Gather(Nd)?|Scatter\w+|StridedSliceAssign|(Sparse)?Apply\w+|CountUpTo)|DestroyResourceOp|"
    r"StatefulPartitionedCall|If|While|Case|Assert|CheckNumerics(V2)?|NoOp|Placeholder|DisableCopyOnRead|GuaranteeConst|"
    r"(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?|LookupTable\w+|InitializeTable(V2)?|Empty|DeepCopy|"
    r"Random\w+|ParameterizedTruncatedNormal|TruncatedNormal|Multinomial|NonDeterministicInts|Rng\w+|"
    r"Stateful(Uniform\w*|StandardNormal(V2)?|TruncatedNormal|RandomBinomial)|StatelessRandomGetAlg|"
    r"TensorListReserve|TensorArray\w*|Stack(V2|PushV2|PopV2|CloseV2)?)$"
)
"""Operators with a state that stays inside the process."""

_SAVER = re.compile(r"^(SaveV2|RestoreV2|MergeV2Checkpoints|ShardedFilename)$")
_SAVER_FUNCTION = re.compile(r"^__inference__traced_(save|restore)_\d+$")
_VOCABULARY = {"InitializeTableFromTextFileV2"}
"""Reads a file that is an asset of the model, and puts it in a table."""

_MAX_BYTES = 2 << 30
"""A message of Protocol Buffers is no larger."""


def check_saved_model(name: str, path: Path) -> None:
    """Raises `EncoderError` if the ``saved_model.pb`` of the encoder `name` does more than compute."""
    with silenced():  # TensorFlow greets on import
        from tensorflow.core.protobuf import saved_model_pb2
        from tensorflow.python.framework import op_def_registry

    message = saved_model_pb2.SavedModel()
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise Reason(f"more than {_MAX_BYTES} bytes", f"超过 {_MAX_BYTES} 字节")
        message.ParseFromString(path.read_bytes())
        if not message.meta_graphs:
            raise Reason("it holds no graph", "其中没有计算图")
    except Exception as error:  # DecodeError of protobuf, which moves between its packages
        reason, reason_zh = both(error)
        raise EncoderError(
            name=name,
            detail=f"{path.name} is no SavedModel: {reason}",
            detail_zh=f"{path.name} 不是 SavedModel：{reason_zh}",
        ) from error
    for graph in message.meta_graphs:
        savers = _savers(graph)
        for owner, operator in _operators(graph):
            if _SAVER.match(operator) and owner in savers:
                continue
            definition = op_def_registry.get(operator)
            if definition is None:
                raise _refused(
                    name,
                    f"needs the operator {operator}, which TensorFlow does not have (a library such as "
                    "tensorflow_text brings it) and which is never loaded; save the model without it",
                    f"需要 TensorFlow 没有的算子 {operator}（由 tensorflow_text 之类的库提供），"
                    "绝不会加载；请保存不含它的模型",
                )
            if operator in _VOCABULARY:
                continue
            if _OUTSIDE.search(operator) or (definition.is_stateful and not _STATEFUL.match(operator)):
                raise _refused(
                    name,
                    f"uses the operator {operator}, which reaches beyond the model; save the model without it",
                    f"使用了会触及模型之外的算子 {operator}；请保存不含它的模型",
                )


def _operators(graph: Any) -> Iterator[tuple[str, str]]:
    """Function (empty for the graph itself) and name of each operator; calls of functions are left out."""
    known = {function.signature.name for function in graph.graph_def.library.function}
    yield from (("", node.op) for node in graph.graph_def.node if node.op not in known)
    for function in graph.graph_def.library.function:
        yield from ((function.signature.name, node.op) for node in function.node_def if node.op not in known)


def _savers(graph: Any) -> set[str]:
    """Functions that save and restore variables, and are called by nothing but the graph's own saver."""
    library = graph.graph_def.library.function
    named = {
        function.signature.name for function in library if _SAVER_FUNCTION.match(function.signature.name)
    }
    called = {
        name
        for function in library
        for node in function.node_def
        for name in (node.op, *(value.func.name for value in node.attr.values()))
    }
    exported = set(graph.object_graph_def.concrete_functions)
    return named - called - exported


def _refused(name: str, detail: str, detail_zh: str) -> EncoderError:
    return EncoderError(name=name, detail=f"saved_model.pb {detail}", detail_zh=f"saved_model.pb {detail_zh}")
