-- Sources of current mixtures with more supervised tokens than their budget or a whole document less, and replay off its share.
-- reads:  stored.mixture_sources(mixture, version, is_current, phase_number, source, is_replay, budget_tokens),
--           stored.mixtures(mixture, version, derived_from),
--           stored.mixture_phases(mixture, version, phase_number, replay_numerator, replay_denominator),
--           stored.mixture_documents(mixture, version, is_current, phase_number, source, is_replay, supervised_tokens, repeats),
--           stored.store_documents(mixture, version, source, supervised_tokens)
-- yields: budgets_kept(mixture, version, phase, source, is_replay, budget_tokens, supervised_tokens, longest_document, problem)
-- grain:  one row per phase, source and role that is wrong, and per phase whose replay is (source null); none where all is well
-- params: none
WITH placed AS (
    SELECT mixture, version, phase_number, source, is_replay, sum(supervised_tokens::BIGINT * repeats)::BIGINT AS supervised_tokens
    FROM stored.mixture_documents
    WHERE is_current
    GROUP BY ALL
), longest AS (
    SELECT mixture, version, source, max(supervised_tokens)::BIGINT AS longest_document
    FROM stored.store_documents
    GROUP BY ALL
), planned AS (
    SELECT
        s.mixture, s.version, s.phase_number AS phase, s.source, s.is_replay, s.budget_tokens,
        coalesce(p.supervised_tokens, 0) AS supervised_tokens,
        -- What one replay source leaves, less than a document, passes to the next, so that the longest of any counts.
        CASE WHEN s.is_replay
            THEN max(l.longest_document) FILTER (WHERE s.is_replay) OVER (PARTITION BY s.mixture, s.version, s.phase_number)
            ELSE l.longest_document
        END AS longest_document
    FROM stored.mixture_sources AS s
    LEFT JOIN placed AS p USING (mixture, version, phase_number, source, is_replay)
    LEFT JOIN longest AS l USING (mixture, version, source)
    WHERE s.is_current
), replay AS (
    SELECT
        mixture, version, planned.phase, any_value(replay_numerator)::HUGEINT AS wanted,
        any_value(replay_denominator)::HUGEINT AS whole,
        coalesce(sum(planned.supervised_tokens) FILTER (WHERE is_replay), 0)::HUGEINT AS replayed,
        coalesce(sum(planned.supervised_tokens) FILTER (WHERE NOT is_replay), 0)::HUGEINT AS domain,
        max(longest_document) FILTER (WHERE is_replay) AS longest_document, any_value(derived_from) IS NOT NULL AS is_derived
    FROM planned
    JOIN stored.mixtures USING (mixture, version)
    JOIN stored.mixture_phases AS r USING (mixture, version)
    WHERE r.phase_number = planned.phase
    GROUP BY mixture, version, planned.phase
), judged AS (
    SELECT
        p.*,
        CASE
            WHEN p.supervised_tokens > p.budget_tokens + CASE WHEN p.is_replay THEN p.longest_document - 1 ELSE 0 END
                THEN 'more than its budget'
            WHEN m.derived_from IS NULL AND p.budget_tokens - p.supervised_tokens >= p.longest_document THEN 'a whole document less than its budget'
        END AS problem
    FROM planned AS p
    JOIN stored.mixtures AS m USING (mixture, version)
    UNION ALL
    SELECT
        mixture, version, phase, NULL, true, (domain * wanted // (whole - wanted))::BIGINT, replayed::BIGINT,
        longest_document,
        CASE
            WHEN replayed * (whole - wanted) > domain * wanted THEN 'replay is more than its share'
            WHEN (replayed + 2 * coalesce(longest_document, 0)) * (whole - wanted) < domain * wanted
                THEN 'replay is more than a document less than its share'
        END
    FROM replay
    WHERE NOT is_derived AND wanted IS NOT NULL
)
SELECT mixture, version, phase, source, is_replay, budget_tokens, supervised_tokens, longest_document, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY mixture, version, phase, is_replay, source
