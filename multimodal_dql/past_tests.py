"""Past A/B tests as the start of an agent: what a content prior expects of each variant, beside its embeddings.

The expected logit effect stands in the content as an encoder of one column would, and the simulated audience that the
agent learns from prefers what the tests preferred: its variants differ by that effect, and by what no test can tell.
A run keeps the prior in ``past-tests-<hash>/``, so that new catalogues are scored by the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multimodal_dql.agent import Agent
from multimodal_dql.candidates import PAST
from multimodal_dql.errors import RunError
from multimodal_dql.features import Features, PastEffects
from multimodal_dql.prior.file import ARRAYS_NAME, FILE_NAME, read_prior
from multimodal_dql.prior.model import ContentPrior
from multimodal_dql.prior.scoring import TextRow, check_encoders, score_rows
from multimodal_dql.run_file import read_file, write_file

__all__ = ["PastTests"]


@dataclass(frozen=True)
class PastTests:
    """A content prior and the folder that it was read from.

    Attributes:
        folder: of `multimodal_dql.prior.file`.
        prior: fitted to past tests.
        fingerprint: hash of its files; the JSON holds the hash of the arrays.
    """

    folder: Path
    prior: ContentPrior
    fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> PastTests:
        """Read a prior. Raises `RunError` for none, a damaged one, or one of another version of an encoder."""
        prior = read_prior(folder)
        check_encoders(prior, folder)
        return cls(folder, prior, hashlib.sha256(read_file(folder / FILE_NAME)).hexdigest())

    @classmethod
    def of_run(cls, run: Path, agent: Agent) -> PastTests | None:
        """The prior that an agent was trained with, None if with none. Raises `RunError` when the run lost it."""
        told = [e.fingerprint for e in agent.projection.encoders if e.modality == PAST]
        if not told:
            return None
        found = cls.read(_kept(run, told[0]))
        if found.fingerprint != told[0]:
            raise RunError(
                path=found.folder,
                detail="is another prior than the agent was trained with; copy the run again or train anew",
                detail_zh="不是训练该智能体时所用的先验；请重新复制该运行或重新训练",
            )
        return found

    def keep(self, run: Path) -> None:
        """Copy it into a run directory."""
        folder = _kept(run, self.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (ARRAYS_NAME, FILE_NAME):
            write_file(folder / name, read_file(self.folder / name))

    def beside(
        self,
        encoded: Features,
        *,
        cache: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Features:
        """The features with what past tests expect of each variant beside its embeddings."""
        variants = encoded.catalogue.variants
        rows = [TextRow(v.item_id, v.variant_id, v.caption, v.image) for v in variants]
        scores = score_rows(self.prior, rows, cache=cache, progress=progress)
        effect = np.array([s.score for s in scores], np.float64)
        known = np.array([s.known for s in scores], np.bool_)
        return replace(encoded, past=PastEffects(self.fingerprint, np.where(known, effect, 0.0), known))


def _kept(run: Path, fingerprint: str) -> Path:
    return run / f"past-tests-{fingerprint[:16]}"
