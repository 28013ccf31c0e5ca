-- Documents and bytes by source and language, as the stage language found them; language is null without letters.
-- reads:  documents(doc_id, source, num_bytes), annotations(doc_id, language__top, language__score, language__share)
-- yields: languages(source, language, documents, bytes, byte_fraction, mean_score, mean_share)
-- grain:  one row per source and language, the largest of a source first; byte_fraction is of the source's bytes
-- params: none
WITH absent AS (
    -- Names that the inner query of `found` lacks are taken from here: only where the stage did not run.
    SELECT
        error('the recipe has no stage language under its own name. Fix: add {stage: language} and run it')::VARCHAR
            AS language__top,
        NULL::DOUBLE AS language__score, NULL::DOUBLE AS language__share
)
SELECT
    d.source, found.language__top AS language, count(*) AS documents, sum(d.num_bytes)::BIGINT AS bytes,
    round(sum(d.num_bytes) / sum(sum(d.num_bytes)) OVER (PARTITION BY d.source), 4) AS byte_fraction,
    -- Ten-thousandths are integers: their sum is the same in any order.
    round(avg(round(found.language__score * 10000)::BIGINT) / 10000, 4) AS mean_score,
    round(avg(round(found.language__share * 10000)::BIGINT) / 10000, 4) AS mean_share
FROM absent, LATERAL (SELECT doc_id, language__top, language__score, language__share FROM annotations) AS found
JOIN documents AS d USING (doc_id)
GROUP BY d.source, found.language__top
ORDER BY d.source, bytes DESC, language NULLS LAST
