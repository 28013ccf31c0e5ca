-- A few documents of every source and reason, drawn when the selection was made: dropped, over_budget, or cut.
-- reads:  stored.examples(source, decision, reason, doc_id, num_chars, excerpt)
-- yields: examples(source, decision, reason, doc_id, num_chars, excerpt)
-- grain:  one row per example; decision cut stands for a kept document, with what is cut out of it as the excerpt
-- params: none
SELECT source, decision, reason, doc_id, num_chars, excerpt FROM stored.examples
