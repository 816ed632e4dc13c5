"""How a command that cannot do what was asked says so: one sentence, and an exit code for scripts."""


class Failure(Exception):
    """Ends a command with exit code 1; the text says what is wrong and what to do."""


class Refusal(Failure):
    """There is nothing to do: what was asked for would have no effect, or another than was meant."""
