-- The ledger of the recipe: what came in, was kept, dropped, cut, held out or left over, and why.
-- reads:  stored.ledger(step, source, outcome, reason, documents, bytes, tokens)
-- yields: ledger(step, source, outcome, reason, documents, bytes, tokens)
-- grain:  one row per step, source, outcome and reason
-- params: none
SELECT step, source, outcome, reason, documents, bytes, tokens FROM stored.ledger
