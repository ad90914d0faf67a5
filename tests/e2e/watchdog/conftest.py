from tests.support.watched_stack import film, own, watched

__all__ = ["film", "own", "watched"]
