"""What goes wrong with the embedded engines, said to the person who starts them."""


class EngineError(Exception):
    """An engine cannot run; the text says why and what to do."""
