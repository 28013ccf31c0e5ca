-- Documents and bytes by source and language, as the stage language found them; language is null without letters.
-- reads:  documents(doc_id, num_bytes),
--         stored.stage_language(stage, doc_id, source, language__top, language__score, language__share)
-- yields: languages(stage, source, language, documents, bytes, byte_fraction, mean_score, mean_share)
-- grain:  one row per stage, source and language, the largest of a source first; byte_fraction is of the source's bytes
-- params: none
SELECT
    l.stage, l.source, l.language__top AS language, count(*) AS documents, sum(d.num_bytes)::BIGINT AS bytes,
    round(sum(d.num_bytes) / sum(sum(d.num_bytes)) OVER (PARTITION BY l.stage, l.source), 4) AS byte_fraction,
    -- Ten-thousandths are integers: their sum is the same in any order.
    round(avg(round(l.language__score * 10000)::BIGINT) / 10000, 4) AS mean_score,
    round(avg(round(l.language__share * 10000)::BIGINT) / 10000, 4) AS mean_share
FROM stored.stage_language AS l
JOIN documents AS d USING (doc_id)
GROUP BY l.stage, l.source, l.language__top
ORDER BY l.stage, l.source, bytes DESC, language NULLS LAST
