-- Places of current mixtures where a later phase comes before an earlier one, or a later use of a text before an earlier one.
-- reads:  stored.mixture_documents(mixture, version, is_current, document, phase_number, repeats),
--           stored.spans(mixture, version, is_current, step, row, start, document, document_start, repeat)
-- yields: schedule_in_order(mixture, version, phase, step, row, document, repeat, problem)
-- grain:  one row per phase or span that comes too early; none where all is well
-- params: none
WITH phases AS (
    SELECT mixture, version, phase_number AS phase, min(document) AS first_document, max(document) AS last_document
    FROM stored.mixture_documents
    WHERE is_current
    GROUP BY ALL
), rows_of_phases AS (
    -- Documents are sorted by phase, so that a phase is a range of positions and no join by document is needed.
    SELECT
        p.mixture, p.version, p.phase, any_value(p.first_document) AS first_document, any_value(p.last_document) AS last_document,
        min((s.step::BIGINT << 16) + s.row) AS first_row, max((s.step::BIGINT << 16) + s.row) AS last_row
    FROM phases AS p
    LEFT JOIN stored.spans AS s
        ON s.mixture = p.mixture AND s.version = p.version AND s.document BETWEEN p.first_document AND p.last_document
    GROUP BY p.mixture, p.version, p.phase
), in_turn AS (
    SELECT
        *, max(last_document) OVER before AS last_document_before, max(last_row) OVER before AS last_row_before
    FROM rows_of_phases
    WINDOW before AS (PARTITION BY mixture, version ORDER BY phase ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), repeated AS (
    SELECT s.*, (s.step::BIGINT << 36) + (s.row::BIGINT << 20) + s.start AS place
    FROM stored.spans AS s
    WHERE s.is_current AND (s.mixture, s.version, s.document) IN (
        SELECT (mixture, version, document) FROM stored.mixture_documents WHERE is_current AND repeats > 1
    )
), uses AS (
    SELECT
        *, lag(place) OVER (PARTITION BY mixture, version, document, document_start ORDER BY repeat, place) AS place_before
    FROM repeated
), found AS (
    SELECT
        mixture, version, phase, (first_row >> 16)::BIGINT AS step, (first_row & 65535)::BIGINT AS row,
        first_document AS document, NULL AS repeat,
        CASE WHEN first_document <= last_document_before
            THEN 'its documents stand among those of an earlier phase'
            ELSE 'it begins before an earlier phase ends'
        END AS problem
    FROM in_turn
    WHERE first_document <= last_document_before OR first_row <= last_row_before
    UNION ALL
    SELECT mixture, version, NULL, step, row, document, repeat, 'used again before it was used'
    FROM uses
    WHERE place < place_before
)
SELECT mixture, version, phase, step, row, document, repeat, problem FROM found
ORDER BY mixture, version, step, row, document, repeat
