-- Uses of documents of current mixtures that are not scheduled exactly once with every token.
-- reads:  stored.mixture_documents(mixture, version, is_current, document, num_tokens, repeats),
--           stored.spans(mixture, version, is_current, document, document_start, length, repeat)
-- yields: every_use_scheduled(mixture, version, document, repeat, num_tokens, scheduled_tokens, problem)
-- grain:  one row per document and repeat that is wrong; none where all is well
-- params: none
WITH tokens AS (
    -- One pass over both tables by the key (document, repeat) in one number, without a join.
    SELECT
        mixture, version, (document::UBIGINT << 16) + repeat AS use, 0::BIGINT AS num_tokens, length::BIGINT AS scheduled_tokens,
        1 AS pieces
    FROM stored.spans
    WHERE is_current
    UNION ALL
    SELECT mixture, version, (document::UBIGINT << 16) + unnest(range(repeats::BIGINT))::UBIGINT, num_tokens, 0, 0
    FROM stored.mixture_documents
    WHERE is_current
), uses AS (
    SELECT
        mixture, version, use, sum(num_tokens)::BIGINT AS num_tokens, sum(scheduled_tokens)::BIGINT AS scheduled_tokens,
        sum(pieces)::BIGINT AS pieces
    FROM tokens
    GROUP BY mixture, version, use
), cut AS (
    SELECT
        s.mixture, s.version, u.use,
        s.document_start <> coalesce(lag(s.document_start::BIGINT + s.length) OVER (
            PARTITION BY s.mixture, s.version, u.use ORDER BY s.document_start, s.length
        ), 0) AS is_wrong
    FROM stored.spans AS s
    JOIN uses AS u
        ON u.mixture = s.mixture AND u.version = s.version AND u.use = (s.document::UBIGINT << 16) + s.repeat AND u.pieces > 1
    WHERE s.is_current
), apart AS (
    SELECT DISTINCT mixture, version, use FROM cut WHERE is_wrong
), judged AS (
    SELECT
        u.*,
        CASE
            WHEN u.num_tokens = 0 THEN 'the mixture has no such use'
            WHEN u.scheduled_tokens = 0 THEN 'not scheduled'
            WHEN u.scheduled_tokens < u.num_tokens THEN 'tokens are missing'
            WHEN u.scheduled_tokens > u.num_tokens THEN 'scheduled more than once'
            WHEN a.use IS NOT NULL THEN 'its pieces overlap or leave a gap'
        END AS problem
    FROM uses AS u
    LEFT JOIN apart AS a USING (mixture, version, use)
)
SELECT
    mixture, version, (use >> 16)::BIGINT AS document, (use & 65535)::BIGINT AS repeat, num_tokens, scheduled_tokens, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY mixture, version, document, repeat
