-- Every document of the recipe, with its text and core columns.
-- reads:  stored.documents(doc_id, source, shard, row, text, messages, num_bytes, num_chars, license, url, date,
--           language, domain, read_problem)
-- yields: documents(doc_id, source, shard, row, text, messages, num_bytes, num_chars, license, url, date, language,
--           domain, read_problem)
-- grain:  one row per document
-- params: none
SELECT
  doc_id, source, shard, row, text, messages, num_bytes, num_chars, license, url, date, language, domain, read_problem
FROM stored.documents
