-- Tokens of each current mixture by source and licence, repeats included.
-- reads:  mixture_documents(mixture, version, is_current, doc_id, source, num_tokens, supervised_tokens, repeats),
--           documents(doc_id, license)
-- yields: tokens_by_source_and_license(mixture, version, source, license, documents, tokens, supervised_tokens)
-- grain:  one row per current mixture, source and licence; licence unknown where the source states none
-- params: $mixture  text = null; only the mixture of this name
SELECT
    m.mixture, m.version, m.source, coalesce(d.license, 'unknown') AS license, count(DISTINCT m.doc_id) AS documents,
    sum(m.num_tokens * m.repeats)::BIGINT AS tokens, sum(m.supervised_tokens * m.repeats)::BIGINT AS supervised_tokens
FROM mixture_documents AS m
LEFT JOIN documents AS d USING (doc_id)
WHERE m.is_current AND ($mixture IS NULL OR m.mixture = $mixture)
GROUP BY ALL
ORDER BY m.mixture, m.version, tokens DESC, m.source, license
