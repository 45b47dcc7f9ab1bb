from collections.abc import Iterator

import pytest

from multimodal_dql.datasets.media import MediaLoader
from tests.report.samples import Sample, build


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return build(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session")
def loader() -> Iterator[MediaLoader]:
    with MediaLoader() as made:
        yield made
