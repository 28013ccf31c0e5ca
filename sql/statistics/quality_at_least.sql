-- What would stay of every source with a quality score of at least min_score: documents and bytes, and their fractions.
-- reads:  stored.stage_quality(stage, source, num_bytes, quality__score)
-- yields: quality_at_least(stage, source, documents, kept_documents, kept_fraction, bytes, kept_bytes, kept_byte_fraction)
-- grain:  one row per stage and source; a document without a score does not stay
-- params: $min_score  number; lowest score that stays, 0 to 1
--         $source  text = null; only this source
WITH counted AS (
    SELECT
        stage, source, count(*) AS documents, count(*) FILTER (WHERE quality__score >= $min_score) AS kept_documents,
        sum(num_bytes)::BIGINT AS bytes,
        coalesce(sum(num_bytes) FILTER (WHERE quality__score >= $min_score), 0)::BIGINT AS kept_bytes
    FROM stored.stage_quality
    WHERE $source IS NULL OR source = $source
    GROUP BY stage, source
)
SELECT
    stage, source, documents, kept_documents, round(kept_documents / documents, 4) AS kept_fraction, bytes, kept_bytes,
    round(kept_bytes / nullif(bytes, 0), 4) AS kept_byte_fraction
FROM counted
ORDER BY stage, source
