"""Small, complete data recipes, each one tested, and what prepares their input."""
