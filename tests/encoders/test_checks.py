import numpy as np
import pytest

from multimodal_dql.encoders.checks import check_encoder, example_samples, iter_checks
from multimodal_dql.errors import EncoderError
from tests.encoders.hostile import assert_chinese
from tests.encoders.toys import Greys, Lengths, Loudness

BUILT_IN = ["efficientnet-lite0", "librosa-descriptors", "minilm", "speech-embedding", "use-multilingual"]


@pytest.mark.parametrize("check", list(iter_checks()), ids=lambda check: check.name)
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in(name, check, built_in):
    encoder = built_in(name)
    check(encoder, example_samples(encoder.modality))


@pytest.mark.parametrize("toy", [Lengths, Greys, Loudness])
def test_an_encoder_that_keeps_the_contract_passes(toy):
    check_encoder(toy())


class Drifts(Lengths):
    def encode(self, items):
        self.calls = getattr(self, "calls", 0) + 1
        return super().encode(items) + np.float32(self.calls)


class ReadsNeighbours(Lengths):
    def encode(self, items):
        return super().encode(items) - np.float32(sum(map(len, items)))


class Sorts(Lengths):
    def encode(self, items):
        return np.sort(super().encode(items), axis=0)


class Writes(Greys):
    def encode(self, items):
        made = super().encode(items)
        for item in items:
            item[:] = 0
        return made


class FailsOnNothing(Lengths):
    def encode(self, items):
        return np.stack([super(FailsOnNothing, self).encode([item])[0] for item in items])


class Trusts(Lengths):
    def encode(self, items):
        return np.array([[len(str(item)), 0] for item in items], np.float32).reshape(-1, 2)


class Crashes(Lengths):
    def encode(self, items):
        return np.array([[len(item), item.count(" ")] for item in items], np.float32).reshape(-1, 2)


class Logs(Lengths):
    def encode(self, items):
        with np.errstate(divide="ignore"):
            return np.log(super().encode(items)[:, :1] * np.ones(2, np.float32))


class Wide(Lengths):
    dim = 3


class Doubles(Lengths):
    def encode(self, items):
        return super().encode(items).astype(np.float64)


class Blind(Lengths):
    def encode(self, items):
        return np.ones_like(super().encode(items))


class Nameless(Lengths):
    fingerprint = ""


class Undefined(Lengths):
    def encode(self, items):
        return super().encode(items) * np.float32(np.nan)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Nameless, "facts"),
        (Wide, "shape"),
        (Doubles, "dtype"),
        (Undefined, "finite"),
        (FailsOnNothing, "empty_batch"),
        (Drifts, "deterministic"),
        (Blind, "tells_apart"),
        (Sorts, "order_preserving"),
        (ReadsNeighbours, "batch_invariant"),
        (Writes, "leaves_input_alone"),
        (Logs, "odd_input"),
        (Trusts, "bad_item"),
        (Crashes, "bad_item"),
    ],
)
def test_each_breach_is_found_by_its_check(broken, check):
    encoder = broken()
    run = {known.name: known for known in iter_checks()}[check]
    with pytest.raises(EncoderError, match=f"breaks the contract: {check}") as caught:
        run(encoder, example_samples(encoder.modality))
    assert run.name_zh in caught.value.text("zh")
    assert_chinese(caught.value.text("zh"), library="ValueError" in str(caught.value))
    with pytest.raises(EncoderError, match="breaks the contract"):
        check_encoder(encoder)


def test_one_sample_is_not_enough():
    with pytest.raises(EncoderError, match="at least two samples"):
        check_encoder(Lengths(), ["one"])
