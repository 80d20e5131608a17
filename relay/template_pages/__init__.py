"""The pages about templates. What templates are: `relay.templates`, `relay.templating`."""
