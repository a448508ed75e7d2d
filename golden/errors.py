"""The one error that golden raises for input that breaks a stated rule."""


class InputError(ValueError):
    """Input that breaks a stated rule: the message says what, the rule, and the offending value."""
