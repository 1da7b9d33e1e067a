"""A captioner of these tests in float64, for oracles that must not round."""

import pytest


@pytest.fixture
def doubled():
    """The same model in float64, and put back."""
    models = []

    def double(model):
        models.append(model)
        return model.double()

    yield double
    for model in models:
        model.float()
