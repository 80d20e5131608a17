"""What strangers see first: the landing page with its demonstration, and what search engines ask for."""
