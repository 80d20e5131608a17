// In place of django-unfold's htmx (16 kB), which it needs for dialogs and for a search that the admin does without. The dashboard loads it.
