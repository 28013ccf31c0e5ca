-- The control tokens in front of each document of the token store; position counts from 0, behind BOS.
-- reads:  stored.control_tokens(doc_id, source, position, token)
-- yields: control_tokens(doc_id, source, position, token)
-- grain:  one row per document and control token in front of it
-- params: none
SELECT doc_id, source, position, token FROM stored.control_tokens
