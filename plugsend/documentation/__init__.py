"""The documentation at `/docs/`: the Markdown files of `docs/`, the error catalogue and the API reference in one frame."""
