"""A registry that does not wait between refreshes."""

import pytest


@pytest.fixture
def always_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh the registry at every request."""
    monkeypatch.setattr("app.inference.registry.REFRESH_S", 0.0)
