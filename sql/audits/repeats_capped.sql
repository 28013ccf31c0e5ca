-- Documents of current mixtures used more often than the recipe allows, all phases together, or in one phase both as domain text and as replay.
-- reads:  stored.mixture_documents(mixture, version, is_current, doc_id, phase_number, source, is_replay, store_row, repeats),
--           stored.mixtures(mixture, version, max_repeats)
-- yields: repeats_capped(mixture, version, doc_id, source, uses, max_repeats, problem)
-- grain:  one row per document that is wrong; none where all is well
-- params: none
WITH uses_in_a_phase AS (
    -- By the row of the token store: a number of four bytes instead of an id of sixteen.
    SELECT
        mixture, version, store_row, sum(repeats)::BIGINT AS uses, min(is_replay::UTINYINT) <> max(is_replay::UTINYINT) AS has_two_roles
    FROM stored.mixture_documents
    WHERE is_current
    GROUP BY mixture, version, store_row, phase_number
), uses AS (
    SELECT mixture, version, store_row, sum(uses)::BIGINT AS uses, bool_or(has_two_roles) AS has_two_roles
    FROM uses_in_a_phase
    GROUP BY mixture, version, store_row
), wrong AS (
    SELECT u.*, r.max_repeats
    FROM uses AS u
    JOIN stored.mixtures AS r USING (mixture, version)
    WHERE u.uses > r.max_repeats OR u.has_two_roles
)
SELECT DISTINCT
    w.mixture, w.version, d.doc_id, d.source, w.uses, w.max_repeats,
    CASE WHEN w.uses > w.max_repeats THEN 'used too often' ELSE 'domain text and replay' END AS problem
FROM stored.mixture_documents AS d
JOIN wrong AS w USING (mixture, version, store_row)
ORDER BY w.mixture, w.version, d.doc_id
