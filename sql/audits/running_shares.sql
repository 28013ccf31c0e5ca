-- Sources of current mixtures that are further off their share at the end of a step than their schedule states.
-- reads:  stored.spans(mixture, version, is_current, step, document, supervised_tokens),
--           stored.mixture_documents(mixture, version, is_current, document, phase_number, source, is_replay),
--           stored.schedule_bounds(mixture, version, phase, source, is_replay, bound, largest_deviation)
-- yields: running_shares(mixture, version, phase, source, is_replay, step, labels, labels_of_share, allowed, steps_off)
-- grain:  one row per phase, source and role that is off at the end of any step, with the first (allowed null: the
--           schedule states nothing of it); none where all is well
-- params: none
WITH labels AS (
    -- A phase may end within a step: its part of a step is judged by itself, as it is planned.
    SELECT
        s.mixture, s.version, d.phase_number AS phase, d.source, d.is_replay, s.step::BIGINT AS step,
        sum(s.supervised_tokens)::BIGINT AS labels
    FROM stored.spans AS s
    JOIN stored.mixture_documents AS d ON d.mixture = s.mixture AND d.version = s.version AND d.document = s.document
    WHERE s.is_current AND d.is_current
    GROUP BY ALL
), steps AS (
    SELECT mixture, version, phase, step, sum(labels)::BIGINT AS labels FROM labels GROUP BY ALL
), so_far AS (
    SELECT
        mixture, version, phase, step, labels,
        sum(labels) OVER (PARTITION BY mixture, version, phase ORDER BY step)::HUGEINT AS all_labels,
        sum(labels) OVER (PARTITION BY mixture, version, phase)::HUGEINT AS total
    FROM steps
), sources AS (
    SELECT
        *,
        sum(labels) OVER (PARTITION BY mixture, version, phase, source, is_replay ORDER BY step)::HUGEINT AS source_labels,
        sum(labels) OVER (PARTITION BY mixture, version, phase, source, is_replay)::HUGEINT AS source_total
    FROM labels
), ends AS (
    -- Without labels of its own a source only falls behind, so the steps it is in and those before them are enough.
    SELECT s.*, a.total, unnest([
        {'step': s.step, 'labels': s.source_labels, 'all_labels': a.all_labels},
        {'step': s.step - 1, 'labels': s.source_labels - s.labels, 'all_labels': a.all_labels - a.labels}
    ]) AS after
    FROM sources AS s
    JOIN so_far AS a USING (mixture, version, phase, step)
), judged AS (
    SELECT
        e.mixture, e.version, e.phase, e.source, e.is_replay, e.after.step AS step, e.after.labels::BIGINT AS labels,
        (e.after.all_labels * e.source_total // greatest(e.total, 1))::BIGINT AS labels_of_share,
        greatest(b.bound, b.largest_deviation) AS allowed,
        abs(e.after.labels * e.total - e.after.all_labels * e.source_total) > allowed * e.total AS is_off
    FROM ends AS e
    LEFT JOIN stored.schedule_bounds AS b USING (mixture, version, phase, source, is_replay)
    WHERE e.after.all_labels > 0
)
SELECT
    mixture, version, phase, source, is_replay, min(step) AS step, arg_min(labels, step) AS labels,
    arg_min(labels_of_share, step) AS labels_of_share, any_value(allowed) AS allowed, count(DISTINCT step) AS steps_off
FROM judged
WHERE coalesce(is_off, true)
GROUP BY mixture, version, phase, source, is_replay
ORDER BY mixture, version, phase, is_replay, source
