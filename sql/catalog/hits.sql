-- Documents that hold an item of a benchmark or of a held-out set, with the text that matched.
-- reads:  stored.hits(stage, doc_id, benchmark, item, kind, score, evidence, item_text)
-- yields: hits(stage, doc_id, benchmark, item, kind, score, evidence, item_text)
-- grain:  one row per stage, document, item and kind (question or passage)
-- params: none
SELECT stage, doc_id, benchmark, item, kind, score, evidence, item_text FROM stored.hits
