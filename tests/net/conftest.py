"""Worlds for tests of live capture."""

from collections.abc import Iterator

import pytest

from tests.need import need
from tests.net.namespace import Namespace, new_namespace


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace of the test's own with nothing in it."""
    need("netns")
    with new_namespace() as made:
        yield made


@pytest.fixture
def wire(namespace: Namespace) -> Namespace:
    """A namespace with a wire in it: what is sent on `left` arrives at `right`, and back."""
    namespace.veth("left", "right")
    return namespace
