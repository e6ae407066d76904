"""Pictures of what training saw, for pages and notebooks alike; nothing here knows of either."""
