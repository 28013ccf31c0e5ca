-- Everything about every document in one row: core columns, text, decision and the columns of all stages.
-- reads:  stored.corpus(doc_id, source, shard, row, text, messages, num_bytes, num_chars, license, url, date,
--           language, domain, read_problem, decision, reason, tags, ...)
-- yields: corpus(doc_id, source, shard, row, text, messages, num_bytes, num_chars, license, url, date, language, domain,
--           read_problem, decision, reason, tags, ...)
-- grain:  one row per document; joined by position, so ask this view rather than joining others on doc_id
-- params: none
SELECT * FROM stored.corpus
