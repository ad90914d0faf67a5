from tests.e2e.operations.conftest import stack

__all__ = ["stack"]
