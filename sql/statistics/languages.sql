-- Documents and bytes by source and language, as the stage language found them; language is null without letters.
-- reads:  stored.stage_language(stage, source, num_bytes, language__top, language__score, language__share)
-- yields: languages(stage, source, language, documents, bytes, byte_fraction, mean_score, mean_share)
-- grain:  one row per stage, source and language, the largest of a source first; byte_fraction is of the source's bytes
-- params: $source  text = null; only this source
SELECT
    stage, source, language__top AS language, count(*) AS documents, sum(num_bytes)::BIGINT AS bytes,
    round(sum(num_bytes) / sum(sum(num_bytes)) OVER (PARTITION BY stage, source), 4) AS byte_fraction,
    -- Ten-thousandths are integers: their sum is the same in any order.
    round(avg(round(language__score * 10000)::BIGINT) / 10000, 4) AS mean_score,
    round(avg(round(language__share * 10000)::BIGINT) / 10000, 4) AS mean_share
FROM stored.stage_language
WHERE $source IS NULL OR source = $source
GROUP BY stage, source, language__top
ORDER BY stage, source, bytes DESC, language NULLS LAST
