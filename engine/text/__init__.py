"""What counts as a word, decided once for every stage that counts, compares or searches words."""
