"""Running a data recipe: what is stale, who works, what was lost, and whether it may go on."""
