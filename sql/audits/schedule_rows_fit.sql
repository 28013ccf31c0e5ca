-- Spans of current mixtures that do not fit: outside their row, step or document, without a document, or over one another.
-- reads:  schedule(mixture, version, is_current, step, row, start, length, doc_id, document, document_start, supervised_tokens),
--           mixtures(mixture, version, is_current, row_tokens, rows_per_step, num_steps),
--           mixture_documents(mixture, version, document, num_tokens)
-- yields: schedule_rows_fit(mixture, version, step, row, start, length, document, problem)
-- grain:  one row per span that is wrong, with the first thing wrong; none where all is well
-- params: none
WITH spans AS (
    SELECT
        s.*, m.row_tokens, m.rows_per_step, m.num_steps, d.num_tokens,
        lag(s.start::BIGINT + s.length) OVER (PARTITION BY s.mixture, s.version, s.step, s.row ORDER BY s.start, s.length) AS free_from
    FROM schedule AS s
    JOIN mixtures AS m ON m.mixture = s.mixture AND m.version = s.version AND m.is_current
    LEFT JOIN mixture_documents AS d ON d.mixture = s.mixture AND d.version = s.version AND d.document = s.document
), judged AS (
    SELECT
        *,
        CASE
            WHEN num_tokens IS NULL THEN 'no such document in the mixture'
            WHEN length = 0 THEN 'empty span'
            WHEN start::BIGINT + length > row_tokens THEN 'longer than the row'
            WHEN row >= rows_per_step THEN 'more rows than the step has'
            WHEN step > num_steps THEN 'after the last step'
            WHEN document_start::BIGINT + length > num_tokens THEN 'longer than the document'
            WHEN supervised_tokens >= length THEN 'more labels than the span can have'
            WHEN start < free_from THEN 'overlaps the span before it'
        END AS problem
    FROM spans
)
SELECT mixture, version, step, row, start, length, document, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY mixture, version, step, row, start, length, document
