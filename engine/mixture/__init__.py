"""Selected documents to a versioned mixture with integer token budgets."""
