-- How often the text of a document of the token store spells a control or chat token; it is encoded as plain text.
-- reads:  stored.look_alikes(doc_id, source, token, occurrences)
-- yields: look_alikes(doc_id, source, token, occurrences)
-- grain:  one row per document and token that its text spells
-- params: none
SELECT doc_id, source, token, occurrences FROM stored.look_alikes
