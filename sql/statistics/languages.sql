-- Documents and bytes by source and language, as the stage language found them; language is null without letters.
-- reads:  documents(doc_id, source, num_bytes), annotations(doc_id, language__top, language__score, language__share)
-- yields: languages(source, language, documents, bytes, byte_fraction, mean_score, mean_share)
-- grain:  one row per source and language, the largest of a source first; byte_fraction is of the source's bytes
-- params: none
SELECT
    d.source, a.language__top AS language, count(*) AS documents, sum(d.num_bytes)::BIGINT AS bytes,
    round(sum(d.num_bytes) / sum(sum(d.num_bytes)) OVER (PARTITION BY d.source), 4) AS byte_fraction,
    -- Ten-thousandths are integers: their sum is the same in any order.
    round(avg(round(a.language__score * 10000)::BIGINT) / 10000, 4) AS mean_score,
    round(avg(round(a.language__share * 10000)::BIGINT) / 10000, 4) AS mean_share
FROM documents AS d
JOIN annotations AS a USING (doc_id)
GROUP BY d.source, a.language__top
ORDER BY d.source, bytes DESC, language NULLS LAST
