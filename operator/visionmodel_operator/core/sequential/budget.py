"""How the false-alarm rate of a rollout is shared among its tests."""


def alpha_per_test(alpha: float, tests: int) -> float:
    """Return each test's equal share of alpha; all of it while there is no test.

    The chance that any of the tests ever fires falsely is then at most alpha (Boole), however they depend on each
    other. Count one per gating metric and claim; a test that never acts takes none. ValueError for a negative number.
    """
    if tests < 0:
        raise ValueError(f"the number of tests must not be negative, got {tests}")
    return alpha / max(1, tests)
