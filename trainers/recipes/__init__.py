"""Small complete train recipes, each one tested."""
