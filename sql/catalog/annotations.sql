-- Every column the stages added, named <stage>__<what>, beside the document's id.
-- reads:  stored.annotations(doc_id, source, ...)
-- yields: annotations(doc_id, source, ...)
-- grain:  one row per document
-- params: none
SELECT * FROM stored.annotations
