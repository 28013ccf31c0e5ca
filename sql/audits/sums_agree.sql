-- Sums of the manifests of current mixtures that differ from those of their documents or of their schedule.
-- reads:  mixtures(mixture, version, is_current, documents, tokens, supervised_tokens, num_steps),
--           stored.mixture_phases(mixture, version, is_current, phase_number, documents, tokens, supervised_tokens),
--           stored.mixture_sources(mixture, version, is_current, phase_number, source, is_replay, documents, unique_tokens, tokens,
--           supervised_tokens, max_repeats),
--           stored.mixture_documents(mixture, version, is_current, phase_number, source, is_replay, store_row, num_tokens,
--           supervised_tokens, repeats),
--           stored.spans(mixture, version, is_current, step, length, supervised_tokens)
-- yields: sums_agree(mixture, version, phase, source, is_replay, unit, said, found_in, found)
-- grain:  one row per sum that is wrong (phase and source null: of the whole version); none where all is well
-- params: none
WITH parts AS (
    SELECT
        mixture, version, phase_number::BIGINT AS phase_number, source, is_replay, count(*) AS documents, sum(num_tokens)::BIGINT AS unique_tokens,
        sum(num_tokens::BIGINT * repeats)::BIGINT AS tokens, sum(supervised_tokens::BIGINT * repeats)::BIGINT AS supervised_tokens,
        max(repeats)::BIGINT AS max_repeats
    FROM stored.mixture_documents
    WHERE is_current
    GROUP BY mixture, version, phase_number, source, is_replay
), distinct_documents AS (
    SELECT mixture, version, count(DISTINCT store_row) AS documents
    FROM stored.mixture_documents
    WHERE is_current
    GROUP BY mixture, version
), placed AS (
    SELECT
        mixture, version, sum(length)::BIGINT AS tokens, sum(supervised_tokens)::BIGINT AS supervised_tokens,
        max(step)::BIGINT AS num_steps
    FROM stored.spans
    WHERE is_current
    GROUP BY mixture, version
), compared AS (
    SELECT mixture, version, phase_number, source, is_replay, unnest([
        {'unit': 'documents', 'said': s.documents, 'found_in': 'documents', 'found': p.documents},
        {'unit': 'unique_tokens', 'said': s.unique_tokens, 'found_in': 'documents', 'found': p.unique_tokens},
        {'unit': 'tokens', 'said': s.tokens, 'found_in': 'documents', 'found': p.tokens},
        {'unit': 'supervised_tokens', 'said': s.supervised_tokens, 'found_in': 'documents', 'found': p.supervised_tokens},
        {'unit': 'max_repeats', 'said': s.max_repeats, 'found_in': 'documents', 'found': p.max_repeats}
    ]) AS sum_of
    FROM (FROM stored.mixture_sources WHERE is_current) AS s
    FULL JOIN parts AS p USING (mixture, version, phase_number, source, is_replay)
    UNION ALL
    SELECT mixture, version, phase_number, NULL, NULL, unnest([
        {'unit': 'documents', 'said': s.documents, 'found_in': 'documents', 'found': p.documents},
        {'unit': 'tokens', 'said': s.tokens, 'found_in': 'documents', 'found': p.tokens},
        {'unit': 'supervised_tokens', 'said': s.supervised_tokens, 'found_in': 'documents', 'found': p.supervised_tokens}
    ])
    FROM stored.mixture_phases AS s
    LEFT JOIN (
        SELECT
            mixture, version, phase_number, sum(documents)::BIGINT AS documents, sum(tokens)::BIGINT AS tokens,
            sum(supervised_tokens)::BIGINT AS supervised_tokens
        FROM parts
        GROUP BY ALL
    ) AS p USING (mixture, version, phase_number)
    WHERE s.is_current
    UNION ALL
    SELECT mixture, version, NULL, NULL, NULL, unnest([
        {'unit': 'documents', 'said': m.documents, 'found_in': 'documents', 'found': d.documents},
        {'unit': 'tokens', 'said': m.tokens, 'found_in': 'documents', 'found': p.tokens},
        {'unit': 'supervised_tokens', 'said': m.supervised_tokens, 'found_in': 'documents', 'found': p.supervised_tokens},
        {'unit': 'tokens', 'said': m.tokens, 'found_in': 'schedule', 'found': t.tokens},
        {'unit': 'steps', 'said': m.num_steps, 'found_in': 'schedule', 'found': t.num_steps},
        -- The first token of a later piece of a cut document is no label, so that there can be fewer, never more.
        {'unit': 'supervised_tokens', 'said': m.supervised_tokens, 'found_in': 'schedule',
         'found': greatest(m.supervised_tokens, t.supervised_tokens)}
    ])
    FROM mixtures AS m
    LEFT JOIN distinct_documents AS d USING (mixture, version)
    LEFT JOIN (
        SELECT mixture, version, sum(tokens)::BIGINT AS tokens, sum(supervised_tokens)::BIGINT AS supervised_tokens
        FROM parts
        GROUP BY ALL
    ) AS p USING (mixture, version)
    LEFT JOIN placed AS t USING (mixture, version)
    WHERE m.is_current
)
SELECT
    mixture, version, phase_number AS phase, source, is_replay, sum_of.unit AS unit, sum_of.said AS said, sum_of.found_in AS found_in,
    sum_of.found AS found
FROM compared
WHERE sum_of.said IS DISTINCT FROM sum_of.found
ORDER BY mixture, version, phase, source, is_replay, unit, found_in
