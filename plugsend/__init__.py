"""The top floor: settings, URLs, engines and the processes that make PlugSend run."""
