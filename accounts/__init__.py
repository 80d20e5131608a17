"""The ground floor: people, organizations, roles, API keys."""
